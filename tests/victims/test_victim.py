"""The model under attack: mode, dtype, chunks, counts."""

import numpy as np
import pytest
import torch
from helpers.models import Of
from torch import nn

from hauberk import InputError
from hauberk.attacks import FGSM, PGD
from hauberk.threats import Linf
from hauberk.victims.victim import Victim


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


@pytest.fixture
def data():
    rng = torch.Generator().manual_seed(0)
    return torch.rand(10, 2, 3, generator=rng), torch.arange(10) % 3


def mixed_modes(model):
    model.train()
    model[2].eval()  # frozen batch statistics
    model[1].weight.requires_grad_(False)
    return [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]


def now(model):
    return [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]


def test_held_is_eval_and_frozen_and_puts_back_everything():
    model = net()
    before = mixed_modes(model)
    victim = Victim(model)
    with victim.held() as held:
        assert held is victim
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        with victim.held():
            pass
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
    assert now(model) == before


def test_held_puts_back_everything_after_an_exception():
    model = net()
    before = mixed_modes(model)
    with pytest.raises(KeyError), Victim(model).held():
        raise KeyError
    assert now(model) == before

    class Broken(Exception):
        pass

    def fail(*_):
        raise Broken

    model[3].register_forward_hook(fail)
    with pytest.raises(Broken):
        FGSM()(model, torch.rand(2, 6), torch.tensor([0, 1]), Linf(0.1))
    assert now(model) == before


def test_an_attack_leaves_no_trace_in_the_model(data):
    model = net()
    before = mixed_modes(model)
    grads = [torch.randn_like(p) for p in model.parameters()]
    for p, g in zip(model.parameters(), grads, strict=True):
        p.grad = g.clone()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    PGD(steps=3)(model, *data, Linf(0.1))
    assert now(model) == before
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))


def test_passes_are_counted(data):
    x, _ = data
    victim = Victim(net(), batch_size=4)
    victim.predict(x)
    assert (victim.forwards, victim.backwards) == (10, 0)
    u = x.clone().requires_grad_()
    with victim.held():
        out = victim.logits(u)
        grad = victim.gradient(out, torch.ones_like(out), u)
    assert (victim.forwards, victim.backwards) == (20, 10)
    assert grad.shape == x.shape


def test_predict_in_chunks(data):
    x, _ = data
    sizes = []
    model = net().eval()
    model.register_forward_hook(lambda module, given, out: sizes.append(len(given[0])))
    whole = Victim(model).predict(x)
    parts = Victim(model, batch_size=4).predict(x)
    assert sizes == [10, 4, 4, 2]
    torch.testing.assert_close(parts, whole)
    assert not whole.requires_grad
    assert Victim(model).predict(x[:0]).shape[0] == 0


def test_a_batch_fits_the_size_of_the_examples():
    victim = Victim(net())
    assert victim.batch_size(torch.empty(1, 6)) == 256
    assert Victim(net()).batch_size(torch.empty(1, 3, 512, 512)) == 5
    assert Victim(net()).batch_size(torch.empty(1, 2**23)) == 1
    with pytest.raises(InputError, match="batch_size is 0"):
        Victim(net(), batch_size=0)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        x.mul_(2).sub_(1)  # normalises its input where it stands
        return self.linear(x.flatten(1))


def test_a_model_that_overwrites_its_input(data):
    x, y = data
    model = InPlace()
    twin = Of(lambda x: model.linear((x * 2 - 1).flatten(1)))
    before = x.clone()
    victim = Victim(model, batch_size=4)
    for _ in range(3):
        torch.testing.assert_close(victim.predict(x), twin(x).detach())
    assert torch.equal(x, before)
    mine, its = (PGD(steps=4)(m, x, y, Linf(0.1), stop=False) for m in (model, twin))
    torch.testing.assert_close(mine.points, its.points)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.data.mul_(2).sub_(1),
        lambda x: np.subtract(x.detach().numpy() * 2, 1, out=x.detach().numpy()),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_that_overwrites_its_input_behind_autograds_back(data, write, dtype):
    x, y = data[0].to(dtype), data[1]
    linear = nn.Linear(6, 3).to(dtype)

    def forward(x):
        write(x)
        return linear(x.flatten(1))

    model = Of(forward)
    model.linear = linear
    before = x.clone()
    victim = Victim(model, batch_size=4)
    assert victim.predict(x[:0]).shape[0] == 0  # of an empty batch nothing is learnt
    with torch.no_grad():
        victim.logits(x[:0])
    expected = linear((x * 2 - 1).flatten(1)).detach()
    for _ in range(3):
        torch.testing.assert_close(victim.predict(x), expected)
        assert torch.equal(x, before)
    PGD(steps=3)(model, x, y, Linf(0.1), stop=False)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: ("x", x), "returned a tuple, not a tensor of logits"),
        (lambda x: {"probabilities": x}, "returned a dict of 'probabilities'"),
        (lambda x: None, "returned a NoneType"),
        (lambda x: x, r"shape \(10, 2, 3\)"),
        (lambda x: x.flatten(1)[:5], r"shape \(5, 6\) for 10 inputs"),
        (lambda x: x.flatten(1)[:, :0], "at least two classes"),
        (lambda x: x.flatten(1)[1:, 0], r"shape \(9,\)"),
    ],
)
def test_what_is_no_table_of_logits(data, answer, says):
    x, y = data
    with pytest.raises(InputError, match=says):
        Victim(Of(answer)).predict(x)
    with pytest.raises(InputError, match=says):
        FGSM()(Of(answer), x, y.clamp(max=1), Linf(0.1))


def test_what_is_no_model():
    with pytest.raises(InputError, match=r"must be a torch.nn.Module, not str"):
        Victim("resnet18")


def test_labels_that_the_model_has_no_class_for(data):
    x, y = data
    model = net()
    victim = Victim(model)
    for attack in (FGSM(), PGD(loss="dlr", targets=2)):
        with pytest.raises(InputError, match="labels reach 3 but the model has 3 classes"):
            attack(victim, x, y + 1, Linf(0.1))
    assert victim.predict(x).shape == (10, 3)


@pytest.mark.parametrize(
    "model",
    [
        Of(lambda x: x.detach().flatten(1)),
        Of(lambda x: torch.eye(3)[torch.arange(len(x)) % 3]),
        Of(lambda x: x.flatten(1).sign()),
        Of(lambda x: x.flatten(1).argsort(1).float()),
    ],
)
def test_a_model_without_a_gradient(data, model):
    x, y = data
    out = PGD(steps=3)(model, x, y, Linf(0.1))
    assert Linf(0.1).contains(x, out.points).all()
    assert out.points.isfinite().all()


def test_a_gradient_that_is_a_view_of_one_number(data):
    """That of a sum is: it cannot be written to."""
    x, y = data
    model = Of(lambda x: torch.cat([torch.full((len(x), 2), 3.0), x.flatten(1).sum(1, True)], 1))
    out = PGD(steps=3, random_start=False)(model, x, y * 0, Linf(0.1), stop=False)
    torch.testing.assert_close(out.points, (x + 0.1).clamp(max=1))


def test_gradients_that_are_no_numbers(data):
    x, _ = data
    u = x.clone().requires_grad_()
    slope = torch.full_like(x, torch.nan)
    slope[0], slope[1] = torch.inf, -torch.inf
    victim = Victim(Of(lambda x: x))
    grad = victim.gradient(u * 1, slope, u)
    assert grad.isfinite().all()
    assert (grad[0] > 1e38).all()
    assert (grad[1] < -1e38).all()
    assert not grad[2:].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_dtype_is_that_of_the_model(data, dtype):
    x, y = data
    seen = set()
    model = net().to(dtype).eval()
    model.register_forward_hook(lambda module, given, out: seen.add(given[0].dtype))
    victim = Victim(model)
    assert victim.predict(x).dtype == dtype
    out = FGSM()(victim, x, y, Linf(0.1))
    assert seen == {dtype}
    assert out.points.dtype == torch.float32


def test_a_model_without_parameters_is_a_float32_one():
    victim = Victim(Of(lambda x: x))
    assert (victim.device.type, victim.dtype) == ("cpu", torch.float32)
    buffered = nn.Module()
    buffered.register_buffer("count", torch.zeros(1, dtype=torch.int64))
    buffered.register_buffer("mean", torch.zeros(1, dtype=torch.float64))
    assert Victim(buffered).dtype == torch.float64


class Small(nn.Module):
    """Runs out of memory beyond a number of examples."""

    def __init__(self, most, error=torch.OutOfMemoryError):
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.most = most
        self.error = error
        self.sizes = []

    def forward(self, x):
        if len(x) > self.most:
            raise self.error("DefaultCPUAllocator: can't allocate memory")
        self.sizes.append(len(x))
        return self.linear(x.flatten(1))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_the_batch_is_halved_until_it_fits(data, most, error):
    x, y = data
    torch.manual_seed(0)
    model = Small(most, error)
    whole = model.linear(x.flatten(1)).detach()
    victim = Victim(model, batch_size=8)
    torch.testing.assert_close(victim.predict(x), whole)
    assert max(model.sizes) == min(8, 2 ** (most.bit_length() - 1))
    victim = Victim(model, batch_size=8)
    out = PGD(steps=3)(victim, x, y, Linf(0.1), stop=False)
    model.most = 100
    calm = PGD(steps=3)(Victim(model), x, y, Linf(0.1), stop=False)
    torch.testing.assert_close(out.points, calm.points)
    assert torch.equal(out.fooled, calm.fooled)


def test_what_does_not_fit_alone_and_other_errors_are_raised(data):
    x, y = data
    with pytest.raises(InputError, match="memory runs out with a single example"):
        FGSM()(Small(0), x, y, Linf(0.1))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        FGSM()(nn.Linear(5, 3), x.flatten(1), y, Linf(0.1))


def test_a_batch_is_halved_while_others_have_taken_the_memory(monkeypatch):
    free = [10_000]
    monkeypatch.setattr("hauberk.victims.victim.free_memory", lambda device: free[0])
    now = [0.0]
    monkeypatch.setattr("hauberk.victims.victim.monotonic", lambda: now[0])
    victim, example = Victim(net()), torch.empty(1, 6)
    victim.take(64, each=100)

    def later(left):
        free[0], now[0] = left, now[0] + 1.5
        return victim.batch_size(example)

    assert [later(left) for left in (10_000, 1_600, 1_599, 800, 799, 0)] == [64, 64, 32, 32, 16, 8]
    now[0] += 0.5
    assert victim.batch_size(example) == 8
    asked = Victim(net(), batch_size=64)
    asked.take(32, each=100)
    now[0] += 1.5
    assert asked.batch_size(example) == 64
