"""Which models depend on the rest of the batch, and which must never be taken for it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hauberk.threats.box import Box
from hauberk.victims.averaged import Averaged
from hauberk.victims.neighbours import dependence
from hauberk.victims.victim import Victim


def conv(norm=None, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), norm or nn.Identity(), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 5),
    )  # fmt: skip


class Around(nn.Module):
    """A network behind a function of the whole batch."""

    def __init__(self, function):
        super().__init__()
        self.net, self.function = conv(), function

    def forward(self, x):
        return self.net(self.function(x))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.attention = nn.Linear(16, 8), nn.MultiheadAttention(8, 2)
        self.last = nn.Linear(8, 5)

    def forward(self, x):
        z = self.first(x.flatten(1)).unsqueeze(1)
        return self.last((z + self.attention(z, z, z)[0]).squeeze(1))


class Sized(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.net, self.function = conv(), function

    def forward(self, x):
        return self.net(x) + self.function(x) * torch.arange(5.0)


def images(n, seed=1):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def found(model, n=12, steady=True, dtype=torch.float32):
    victim = model if isinstance(model, Victim) else Victim(model.eval())
    return dependence(victim, images(n).to(dtype), Box(), 0, steady)


DEPEND = {
    "batch statistics": (
        conv(nn.BatchNorm2d(8, track_running_stats=False)), "module '1' (BatchNorm2d), which"
    ),
    "functional": (
        Around(lambda x: F.batch_norm(x, None, None, training=True)), "forward of Around"
    ),
    "centred": (Around(lambda x: x - x.mean(0)), "the forward of Around itself"),
    "largest value": (Around(lambda x: x / x.max()), "the forward of Around itself"),
    "sum of those before": (Around(lambda x: x.cumsum(0) / 8), "the forward of Around itself"),
    "sum of those after": (Around(lambda x: x.flip(0).cumsum(0).flip(0)), "the forward of Around"),
    "attention over the batch": (Attending(), "module 'attention' (MultiheadAttention)"),
    "ranks": (Around(lambda x: x.argsort(0).argsort(0).float() + 0 * x), "the forward of Around"),
    "size of the batch": (Sized(lambda x: 1 / len(x)), "the forward of Sized itself"),
    "place in the batch": (
        Sized(lambda x: torch.arange(len(x))[:, None] / 9), "the forward of Sized"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEPEND)
@pytest.mark.parametrize("n", [1, 12])
def test_what_depends_on_the_batch_is_found_and_its_cause_named(kind, n):
    model, cause = DEPEND[kind]
    told = found(model, n)
    assert told is not None
    assert told.change > 1e-3
    assert cause in str(told)
    assert model.eval().training is False


def test_images_that_all_reach_both_ends_hide_no_largest_value():
    """As digits do: the largest value of a batch is 1, whatever else is in it."""
    model, x = DEPEND["largest value"][0], images(12)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = 0.0, 1.0
    assert dependence(Victim(model.eval()), x, Box(), 0, True) is not None


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = conv(nn.BatchNorm2d(8))

    def forward(self, x):
        return self.net(x + 0.3 * torch.randn_like(x))


class NoisyCentred(Noisy):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class NoisySums(Noisy):
    def __init__(self, backward):
        super().__init__()
        self.backward = backward

    def forward(self, x):
        return super().forward(x.flip(0).cumsum(0).flip(0) if self.backward else x.cumsum(0))


class Cast(nn.Module):
    """Computes in half precision, whatever the dtype of its parameters."""

    def __init__(self):
        super().__init__()
        self.net = conv(nn.BatchNorm2d(8))

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x).float()


class Cancelling(nn.Module):
    """Rounds so much that a batch of another size comes out otherwise, by a hundredth."""

    def __init__(self):
        super().__init__()
        self.net = conv()

    def forward(self, x):
        dtype = x.dtype
        step = 4096 * torch.finfo(dtype).eps
        return self.net(x) + step * len(x) * torch.arange(5.0, dtype=dtype)


HONEST = {
    "plain": conv(), "running statistics": conv(nn.BatchNorm2d(8)),
    "instances": conv(nn.InstanceNorm2d(8)), "groups": conv(nn.GroupNorm(2, 8)),
    "deep": nn.Sequential(
        nn.Flatten(), *[m for _ in range(30) for m in (nn.Linear(16, 16), nn.GELU())],
        nn.Linear(16, 5),
    ),
    "autocast": Cast(), "bf16": conv(nn.BatchNorm2d(8)).bfloat16(),
    "fp16": conv(nn.BatchNorm2d(8)).half(),
    "rounding": Cancelling(), "dropout": nn.Sequential(nn.Dropout(0.5), conv()),
}  # fmt: skip


@pytest.mark.parametrize("kind", HONEST)
@pytest.mark.parametrize("n", [1, 12])
def test_honest_models_are_left_alone(kind, n):
    dtype = next(HONEST[kind].parameters()).dtype
    assert found(HONEST[kind], n, dtype=dtype) is None


def test_random_models_are_no_dependent_ones_and_may_be_both():
    assert found(Noisy(), steady=False) is None
    assert found(Averaged(Noisy().eval(), 5)) is None
    assert found(NoisyCentred(), steady=False) is not None
    assert found(NoisySums(False), steady=False) is not None
    assert found(NoisySums(True), steady=False) is not None
    assert found(Averaged(NoisyCentred().eval(), 5)) is not None


def test_a_model_that_refuses_other_batches_is_left_to_the_run():
    class Fixed(nn.Module):
        def forward(self, x):
            if len(x) != 12:
                raise RuntimeError("batches of 12")
            return x.flatten(1)[:, :5]

    assert found(Fixed()) is None
