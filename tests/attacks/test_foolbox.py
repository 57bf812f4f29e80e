"""The bridge to Foolbox: its attacks run and counted as our own."""

import sys

import numpy as np
import pytest
import torch
from helpers.data import inputs
from helpers.models import Linear, above, network

from hauberk import InputError
from hauberk.attacks import APGD, FGSM
from hauberk.attacks.foolbox import FoolboxAttack
from hauberk.threats import L0, L1, L2, Box, Linf, Union
from hauberk.victims.victim import Victim

foolbox = pytest.importorskip("foolbox")
pytestmark = pytest.mark.filterwarnings("ignore")


CASES = [
    ("LinfPGD", Linf(0.1)),
    ("FGSM", Linf(0.1)),
    ("L2DeepFoolAttack", L2(0.5)),
    ("L2PGD", L2(0.5)),
    ("DDNAttack", L2(0.5)),
    (foolbox.attacks.EADAttack(steps=10, binary_search_steps=2), L1(1.5)),
    (foolbox.attacks.SaltAndPepperNoiseAttack(steps=20, across_channels=False), L0(3)),
    (foolbox.attacks.L2DeepFoolAttack(), Linf(0.1)),
]
EVERY = pytest.mark.parametrize(("method", "threat"), CASES, ids=lambda v: str(v)[:20])


def curved(dtype=torch.float32):
    return network(20, 30, 3, dtype=dtype)


def data(n=8, shape=(20,), box=(0.0, 1.0), dtype=torch.float32):
    return inputs(n, shape, seed=2, box=box, dtype=dtype, corners=n // 3)


@EVERY
@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
def test_what_counts_as_fooled_is_inside_and_fools(method, threat, box):
    model = curved()
    shape = (5, 2, 2)  # salt and pepper wants images
    x = data(12, shape, box)
    y = model(x).argmax(1)
    y[3] = (y[3] + 1) % 3
    torch.manual_seed(7)
    state = torch.get_rng_state()
    numbers = np.random.get_state()[1].copy()  # noqa: NPY002
    model.train()
    out = FoolboxAttack(method)(model, x, y, threat, box=box, batch_size=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numbers)  # noqa: NPY002
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert threat.contains(x, out.points, box=box).all()
    assert torch.equal(out.fooled, model(out.points).argmax(1) != y)
    assert out.fooled[3]
    assert torch.equal(out.points[3], x[3])
    torch.testing.assert_close(out.distance, threat.distance(x, out.points))
    again = FoolboxAttack(method)(model, x, y, threat, box=box, batch_size=5)
    assert torch.equal(again.points, out.points)


@EVERY
def test_every_pass_is_counted(method, threat):
    model, seen = curved(), {"forward": 0, "backward": 0}
    x = data(6, (5, 2, 2))

    def back(grad):
        seen["backward"] += len(grad)

    def forward(module, given, out):
        seen["forward"] += len(out)
        if out.requires_grad:
            out.register_hook(back)

    y = model(x).argmax(1)
    model.register_forward_hook(forward)
    victim = Victim(model)
    out = FoolboxAttack(method, restarts=2)(victim, x, y, threat)
    assert (victim.forwards, victim.backwards) == (seen["forward"], seen["backward"])
    assert int(out.forwards.sum()) == seen["forward"]
    assert int(out.backwards.sum()) == seen["backward"]
    assert out.forwards.min() >= 2  # the clean input, and what was found


def test_foolbox_finds_what_we_find_on_a_linear_model():
    model, x = Linear(), data()
    y = model(x).argmax(1)
    theirs = FoolboxAttack("FGSM", loss="ce")(model, x, y, Linf(0.05))
    ours = FGSM(loss="ce")(model, x, y, Linf(0.05))
    assert torch.equal(theirs.fooled, ours.fooled)
    torch.testing.assert_close(theirs.points, ours.points, rtol=0, atol=1e-6)
    # A linear model's distance in l2: the margin by the norm of its slope, away from the box.
    x = data() * 0.2 + 0.4
    y, w = model(x).argmax(1), model.weight.detach()
    margin = (model(x).detach() @ torch.tensor([1.0, -1.0])).abs()
    distance = margin / (w[:, 0] - w[:, 1]).norm()
    for eps in (0.05, 0.1, 0.2, 0.4):
        out = FoolboxAttack("L2DeepFoolAttack")(model, x, y, L2(eps))
        clear = (distance / eps - 1).abs() > 0.1
        assert clear.any()
        assert torch.equal(out.fooled[clear], distance[clear] < eps)
        assert torch.equal(out.fooled[clear], APGD(steps=50)(model, x, y, L2(eps)).fooled[clear])


def test_points_outside_are_no_hits_and_are_not_projected():
    # Wrong as soon as the mean exceeds 0.55.
    model = above(0.55, lambda x: x.flatten(1).mean(1))
    x, y = torch.full((3, 4), 0.5), torch.zeros(3, dtype=torch.int64)

    def craft(far):
        """A Foolbox attack that moves every feature by ``far``, whatever it is told."""

        class Far(foolbox.attacks.base.FixedEpsilonAttack):
            distance = foolbox.distances.linf

            def run(self, model, inputs, criterion, *, epsilon, **kwargs):
                return inputs + far

        return FoolboxAttack(Far())

    # 0.2 in a ball of 0.1: projected it would fool; it is reported as a failure.
    out = craft(0.2)(model, x, y, Linf(0.1))
    assert not out.fooled.any()
    assert torch.equal(out.points, x)
    assert craft(0.09)(model, x, y, Linf(0.1)).fooled.all()
    # Rounding alone is forgiven, and the model asked again at the sealed point.
    out = craft(0.1 + 5e-7)(model, x, y, Linf(0.1))
    assert out.fooled.all()
    assert Linf(0.1).contains(x, out.points).all()
    # NaN is no point at all.
    out = craft(float("nan"))(model, x, y, Linf(0.1))
    assert not out.fooled.any()
    assert torch.equal(out.points, x)


def test_an_example_without_a_starting_point_spoils_no_other():
    x = torch.full((3, 6), 0.5)
    x[1] = torch.linspace(0, 1, 6)  # noise never makes it even
    y = torch.tensor([0, 1, 0])
    start = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(steps=20)
    method = foolbox.attacks.BoundaryAttack(steps=5, init_attack=start)
    # Class 0 for features that are nearly equal, class 1 for all others.
    model = above(0.01, lambda x: x.std(1)).eval()
    with pytest.raises(ValueError, match="init_attack failed for 1"):
        method(foolbox.PyTorchModel(model, (0, 1), device="cpu"), x, y, epsilons=0.01)
    out = FoolboxAttack(method)(model, x, y, L2(5.0))
    assert out.fooled.tolist() == [True, False, True]
    assert L2(5.0).contains(x, out.points).all()
    assert torch.equal(out.points[1], x[1])


def test_float64_and_one_and_none():
    model, x = curved(torch.float64), data(5, dtype=torch.float64)
    y = model(x).argmax(1)
    for method, threat in (("LinfPGD", Linf(0.1)), ("L2DeepFoolAttack", L2(0.5))):
        out = FoolboxAttack(method)(model, x, y, threat)
        assert out.points.dtype == torch.float64
        assert threat.contains(x, out.points).all()
        assert len(FoolboxAttack(method)(model, x[:1], y[:1], threat)) == 1
        none = FoolboxAttack(method)(model, x[:0], y[:0], threat)
        assert len(none) == 0
        assert none.forwards.shape == (0,)
        still = FoolboxAttack(method)(model, x, y, threat.scaled(0))
        assert torch.equal(still.points, x)
        assert not still.fooled.any()


def test_rounding_to_float32_changes_no_feature():
    """Foolbox sees float32: the features it leaves alone must count as unchanged in l0."""
    model, x = curved(torch.float64), data(12, (5, 2, 2), dtype=torch.float64)[4:]
    assert (x.float() != x).all()
    y = model(x).argmax(1)
    method = foolbox.attacks.SaltAndPepperNoiseAttack(steps=50, across_channels=False)
    out = FoolboxAttack(method)(model, x, y, L0(12))
    moved = out.distance[out.fooled]
    assert len(moved)
    assert moved.min() >= 1
    assert moved.max() <= 12


def test_a_radius_in_the_methods_own_norm():
    model, x = curved(), data()
    y = model(x).argmax(1)
    with pytest.raises(InputError, match=r"another norm than l2:0\.5: give eps="):
        FoolboxAttack("LinfPGD")(model, x, y, L2(0.5))
    out = FoolboxAttack("LinfPGD", 0.5 / 20**0.5)(model, x, y, L2(0.5))
    assert L2(0.5).contains(x, out.points).all()
    assert not torch.equal(out.points, x)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FoolboxAttack("LinfPDG"), "foolbox.attacks has no 'LinfPDG'"),
        (lambda: FoolboxAttack("LinfPGD", eps=-1), "eps is -1"),
        (lambda: FoolboxAttack("LinfPGD", slack=0.5), "slack is 0.5"),
    ],
)
def test_bad_settings(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_what_foolbox_cannot_do_is_refused():
    model, x = curved(), data()
    y = model(x).argmax(1)
    attack = FoolboxAttack("LinfPGD")
    for bounds in (Box(torch.zeros(20) - torch.arange(20), 1.0), Box(0.0, float("inf"))):
        with pytest.raises(InputError, match="one finite lower and one upper bound"):
            attack(model, x, y, Linf(0.1), box=bounds)
    same = attack(model, x, y, Linf(0.1), box=Box(torch.zeros(20), torch.ones(20)))
    assert len(same) == 8
    with pytest.raises(InputError, match="is no ball"):
        attack(model, x, y, Union(Linf(0.1), L2(0.5)))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(InputError, match=r"pip install 'hauberk\[foolbox\]'"):
        FoolboxAttack("LinfPGD")


def test_it_is_described_by_name_and_settings():
    described = FoolboxAttack("LinfPGD").describe()
    assert described["attack"] == "FoolboxAttack"
    assert described["method"].startswith("LinfProjectedGradientDescentAttack(")
