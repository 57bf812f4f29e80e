"""Softened gradients: the same logits to the bit, and a way through what hides the gradient."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hauberk.attacks import APGD
from hauberk.errors import HauberkWarning
from hauberk.evaluation import evaluate
from hauberk.threats import Linf
from hauberk.victims.softening import Softened
from hauberk.victims.victim import Victim


class Flipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Mute(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x * 1

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return grad * 0


def no_graph(x):
    with torch.no_grad():
        return x * 1.0


def winners(x):
    kept = x.topk(max(1, x.shape[1] // 3), dim=1).values[:, -1:]
    return x * (x >= kept).type_as(x)


def hooked(x):
    y = x * 1
    if y.requires_grad:
        y.register_hook(lambda g: -g)
    return y


def numpy_round_trip(x):
    return torch.from_numpy(x.detach().numpy().copy())


TRICKS = {
    "round": lambda x: (x * 7).round() / 7,
    "floor": lambda x: torch.floor(x * 8) / 8,
    "threshold": lambda x: (x > 0.5).float(),
    "typed threshold": lambda x: (x >= 0.5).to(x.dtype),
    "where": lambda x: torch.where(x > 0.5, 1.0, 0.0),
    "masked": lambda x: x * (x > 0.3),
    "sign": lambda x: (x - 0.5).sign(),
    "detached": lambda x: x.detach(),
    "data": lambda x: x.data,
    "no_grad": no_graph,
    "flipped": lambda x: Flipped.apply(x),
    "mute": lambda x: Mute.apply(x),
    "bound early": Flipped.apply,
    "hook": hooked,
    "winners": winners,
    "scaled by a number": lambda x: (x * 7).round() / 7 * (1 if x.max() > 0 else 2),
}


class Model(nn.Module):
    def __init__(self, front=lambda x: x, head=lambda z: z):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.first, self.last = nn.Linear(20, 30), nn.Linear(30, 3)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=rng)
        self.front, self.head = front, head

    def forward(self, x):
        return self.head(self.last(F.relu(self.first(self.front(x)), inplace=True)))


def points(n=40):
    return torch.rand(n, 20, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", TRICKS)
def test_a_hidden_gradient_is_found(name):
    model, x = Model(TRICKS[name]), points()
    y = model(x).argmax(1)
    plain = APGD(steps=20)(model, x, y, Linf(0.25))
    soft = APGD(steps=20, soften=0.3)(model, x, y, Linf(0.25))
    bare = APGD(steps=20)(Model(), x, Model()(x).argmax(1), Linf(0.25))
    assert soft.fooled.float().mean() > plain.fooled.float().mean()
    assert soft.fooled.float().mean() > 0.6 * bare.fooled.float().mean()


HEADS = {
    "plain": lambda z: z,
    "softmax": lambda z: (z * 30).softmax(1),
    "sigmoid": lambda z: torch.sigmoid(z * 20),
    "tanh": lambda z: (z * 20).tanh(),
    "clamp": lambda z: z.clamp(-0.5, 0.5),
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "clamp_min": lambda z: z.clamp_min(0.1),
    "clip by name": lambda z: torch.clip(z, min=-1),
    "leaf in place": lambda z: z.mul(1).relu_(),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("front", TRICKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_logits_are_the_same_to_the_bit(front, head, dtype):
    if front in ("threshold", "where") and dtype != torch.float32:
        pytest.skip("makes float32 of anything")
    model = Model(TRICKS[front], HEADS[head]).to(dtype)
    x = points(7).to(dtype)
    victim = Victim(model)
    expected = victim.logits(x)
    softened = victim.logits(x.clone().requires_grad_(True), soften=0.3)
    assert torch.equal(softened, expected)
    assert softened.requires_grad
    assert victim.stiff is None


@pytest.mark.parametrize("head", HEADS)
def test_no_unit_is_dead(head):
    x = points(5).requires_grad_(True)
    z = Victim(Model(head=HEADS[head])).logits(x, soften=0.3)
    (grad,) = torch.autograd.grad(z[:, 0].sum(), x)
    assert (grad != 0).flatten(1).any(1).all()
    assert grad.isfinite().all()


def test_a_narrow_sigmoid_is_the_step_itself():
    x = points(5).double().requires_grad_(True)
    victim = Victim(Model().double())
    exact = torch.autograd.grad(victim.logits(x).sum(), x)[0]
    near = torch.autograd.grad(victim.logits(x, soften=1e-9).sum(), x)[0]
    torch.testing.assert_close(near, exact)


def test_nothing_is_left_behind():
    parent = torch.autograd.Function.__mro__[1]
    with pytest.raises(ZeroDivisionError), Softened(0.3), Softened(0.2):
        raise ZeroDivisionError
    assert "apply" not in vars(parent)
    x = points(3).requires_grad_(True)
    (grad,) = torch.autograd.grad(Flipped.apply(x).sum(), x)
    assert (grad == -1).all()


def test_other_threads_are_not_affected():
    """One softens while the other does not, then both, then only the other."""
    parent = torch.autograd.Function.__mro__[1]
    steps, told = threading.Barrier(2, timeout=20), []

    def slope():
        x = torch.ones(3, requires_grad=True)
        return float(torch.autograd.grad(Flipped.apply(x).sum(), x)[0][0])

    def other():
        steps.wait()
        told.append(slope())  # the first thread is inside
        with Softened(0.3):
            told.append(slope())
            steps.wait()
            steps.wait()  # the first thread has left
            told.append(slope())
        told.append(slope())

    thread = threading.Thread(target=other)
    thread.start()
    with Softened(0.2):
        assert slope() == 1
        steps.wait()
        steps.wait()
    assert slope() == -1
    steps.wait()
    thread.join()
    assert told == [-1, 1, 1, -1]
    assert "apply" not in vars(parent)


def test_what_leaves_torch_is_attacked_plainly():
    x = points(5)
    model = Model(numpy_round_trip)
    found = APGD(steps=5, soften=0.3)(model, x, model(x).argmax(1), Linf(0.25))
    assert len(found) == 5


def test_a_model_that_breaks_when_looked_into_is_attacked_plainly():
    class Touchy(Model):
        def forward(self, x):
            if x.requires_grad and type(torch.overrides._get_current_function_mode()).__name__ == (
                "Softened"
            ):
                raise ValueError("not like this")
            return super().forward(x)

    victim, model = Victim(Touchy()), Touchy()
    x = points(5)
    found = APGD(steps=5, soften=0.3)(victim, x, model(x).argmax(1), Linf(0.25))
    assert found.fooled.any()
    assert "not like this" in victim.stiff
    with pytest.warns(HauberkWarning, match="cannot be looked into .ValueError: not like this"):
        evaluate(Touchy(), x, model(x).argmax(1), Linf(0.25), suite=APGD(steps=1))


def test_backward_hooks_of_modules_are_left_out_and_put_back():
    model, x = Model(), points()
    handle = model.last.register_full_backward_hook(lambda module, into, of: (-into[0],))
    y = model(x).argmax(1)
    victim = Victim(model)
    assert APGD(steps=20, soften=0.3)(victim, x, y, Linf(0.25)).fooled.float().mean() > 0.5
    assert victim.stiff is None
    assert len(model.last._backward_hooks) == 1
    handle.remove()


def test_negative_widths_are_refused():
    with pytest.raises(ValueError, match="soften is -1"):
        APGD(soften=-1)


def test_exported_graphs_are_softened_like_their_modules():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Hardtanh(0, 0.5), nn.Sigmoid(),
        nn.Conv2d(4, 4, 2), nn.Softmax(1), nn.ReLU6(), nn.Flatten(), nn.Linear(4, 3),
    ).eval()  # fmt: skip
    x = torch.rand(2, 1, 4, 4)
    graph = torch.export.export(net, (x,)).module()
    found = []
    for model in (net, graph):
        u = x.clone().requires_grad_(True)
        with Softened(0.1):
            out = model(u)
        found.append(torch.autograd.grad(out[:, 0].sum(), u)[0])
        torch.testing.assert_close(out, net(x))
    torch.testing.assert_close(*found)
    u = x.clone().requires_grad_(True)
    exact = torch.autograd.grad(net(u)[:, 0].sum(), u)[0]
    assert not torch.allclose(exact, found[0], rtol=0.1)
