"""A faster copy of a model: in what precision it computes, and what of it is float32."""

import pytest
import torch
from torch import nn

from hauberk.errors import InputError
from hauberk.victims.averaged import Averaged
from hauberk.victims.fast_copy import FastCopy, SearchOn, fast_copy
from hauberk.victims.victim import Victim


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()


def images(n=5):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))


class Noting(nn.Module):
    """Notes in which dtype and memory format it is called."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = net(), []

    def forward(self, x):
        last = x.is_contiguous(memory_format=torch.channels_last)
        self.seen.append((x.dtype, last))
        return self.net(x)


@pytest.mark.parametrize(
    ("word", "dtype"),
    [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)],
)
def test_the_copy_computes_in_its_precision_and_answers_in_float32(word, dtype):
    model, x = net(), images()
    fast = FastCopy(Victim(model), SearchOn(precision=word))
    assert {p.dtype for p in fast.model.parameters()} == {dtype}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    u = x.clone().requires_grad_(True)
    logits = fast.logits(u)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, model(x), atol=0.02)
    weight = torch.tensor([1.0, -2.0, 0.5])
    grad = fast.gradient((logits * weight).sum(1), torch.full((5,), 0.5), u)
    v = x.clone().requires_grad_(True)
    (exact,) = torch.autograd.grad((model(v) * weight).sum() / 2, v)
    assert grad.dtype == torch.float32
    assert torch.allclose(grad, exact, atol=0.02)
    assert not torch.equal(grad, exact) or word == "fp32"


def test_a_model_in_float64_may_be_searched_in_float32():
    model = net().double()
    fast = FastCopy(Victim(model), SearchOn(precision="fp32"))
    assert fast.dtype == torch.float32
    assert fast.rounding == torch.finfo(torch.float32).eps
    assert FastCopy(Victim(model), SearchOn()).logits(images().double()).dtype == torch.float64


def test_rounding_is_that_of_the_precision():
    victim = Victim(net())
    assert FastCopy(victim, SearchOn(precision="bf16")).rounding == 2**-7
    assert FastCopy(victim, SearchOn(precision="fp16")).rounding == 2**-10
    assert FastCopy(victim, SearchOn(channels_last=True)).rounding == 0


def test_a_copy_takes_for_wrong_what_is_so_by_more_than_rounding():
    fast = FastCopy(Victim(net()), SearchOn(precision="bf16"))
    edge = 4.0 * 2**-7  # the largest logit is 4
    leads = [-1.0, 0.0, 0.9 * edge, 1.1 * edge, float("nan")]
    logits = torch.tensor(
        [[4 - lead, 4.0, 0.0] if lead > 0 else [4.0, 4 + lead, 0] for lead in leads]
    )
    logits[4, 0] = torch.nan
    y = torch.zeros(5, dtype=torch.int64)
    assert fast.wrong(logits, y).tolist() == [False, False, False, True, True]
    exact = FastCopy(Victim(net()), SearchOn(channels_last=True))
    assert exact.wrong(logits, y).tolist() == [False, True, True, True, True]


def test_small_gradients_survive_in_float16():
    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.eye(2))

        def forward(self, x):
            return x @ self.w

    fast = FastCopy(Victim(Steep()), SearchOn(precision="fp16"))
    u = torch.rand(3, 2).requires_grad_(True)
    tiny = 1e-8  # below the least number of float16
    grad = fast.gradient(fast.logits(u).sum(1), torch.full((3,), tiny), u)
    assert torch.allclose(grad, torch.full((3, 2), tiny), rtol=1e-2, atol=0)
    assert float(torch.tensor(tiny).half()) == 0


def test_images_lie_channels_last_and_other_inputs_as_they_are():
    model = Noting()
    fast = FastCopy(Victim(model), SearchOn(channels_last=True))
    x = torch.rand(2, 3, 4, 4)
    wide = nn.Sequential(nn.Conv2d(3, 1, 1), model)
    victim = FastCopy(Victim(wide), SearchOn(channels_last=True))
    assert victim.model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(victim.logits(x), wide(x), atol=1e-5)
    fast.logits(images())
    assert fast.model.seen == [(torch.float32, True)]
    flat = FastCopy(Victim(nn.Linear(4, 2)), SearchOn(channels_last=True))
    assert flat.logits(torch.rand(3, 4)).shape == (3, 2)


def test_softened_gradients_are_those_of_the_copy():
    fast = FastCopy(Victim(net()), SearchOn(precision="bf16"))
    u = images().requires_grad_(True)
    soft = fast.gradient(fast.logits(u, soften=0.3).sum(), None, u)
    own = Victim(net())
    v = images().requires_grad_(True)
    exact = own.gradient(own.logits(v, soften=0.3).sum(), None, v)
    plain = own.gradient(own.logits(v).sum(), None, v)
    assert torch.allclose(soft, exact, atol=0.02)
    assert not torch.allclose(soft, plain, atol=0.02)


def test_a_compiled_copy_gives_the_same(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda m, **how: asked.append(how) or _wrapped(m))
    fast = FastCopy(Victim(net()), SearchOn(compile=True))
    assert asked == [{"dynamic": True}]
    u = images().requires_grad_(True)
    assert torch.equal(fast.logits(u), net()(images()))
    # Softened gradients go around the compiled module, which would hide its operations.
    before = len(fast.model.calls)
    fast.logits(u, soften=0.3)
    assert len(fast.model.calls) == before


def _wrapped(model):
    class Compiled(nn.Module):
        def __init__(self):
            super().__init__()
            self._orig_mod, self.calls = model, []

        def forward(self, x):
            self.calls.append(len(x))
            return self._orig_mod(x)

    return Compiled()


def test_passes_of_the_copy_count_as_the_models():
    victim = Victim(net())
    fast = FastCopy(victim, SearchOn(precision="bf16"))
    with fast.counted():
        fast.logits(images(3))
        fast.gradient(torch.zeros(3), None, images(3))
    fast.logits(images(4))
    assert (victim.forwards, victim.backwards) == (3, 3)


def test_there_is_no_copy_of_what_cannot_be_copied():
    class OwnNumbers(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(x.float())

    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(x) * 1e6

    bf16, x = SearchOn(precision="bf16"), torch.rand(2, 4)
    found, why = fast_copy(Victim(OwnNumbers()), bf16, x)
    assert found is None
    assert "dtype" in why
    found, why = fast_copy(Victim(Large()), SearchOn(precision="fp16"), x)
    assert found is None
    assert why == "its numbers are too large for that precision"
    assert fast_copy(Victim(Large()), bf16, x)[0] is not None
    found, why = fast_copy(Averaged(nn.Linear(4, 2), 2), bf16, x)
    assert found is None
    assert "one plain model" in why
    found, _ = fast_copy(Victim(nn.Linear(4, 2)), bf16, x)
    assert (found.forwards, found.own.forwards) == (0, 0)


def test_words():
    with pytest.raises(InputError, match="search_precision is 'int8': choose one of fp32, bf16"):
        SearchOn(precision="int8")
    assert not SearchOn()
    assert all((SearchOn(precision="fp32"), SearchOn(channels_last=True), SearchOn(compile=True)))
    every = SearchOn(precision="bf16", channels_last=True, compile=True)
    assert SearchOn.of(every.facts()) == every
    assert SearchOn.of({}) == SearchOn()
    assert SearchOn().facts() == {}
