"""One table lists every attack with the threats it serves; every test below runs through it."""

from dataclasses import replace
from math import inf

import pytest
import torch
from helpers.data import inputs
from helpers.models import Constant, Linear, network
from helpers.oracles import judged, queries
from torch import nn

from hauberk import InputError, attacks
from hauberk.attacks import (
    APGD,
    FGSM,
    LPA,
    PGD,
    PPGD,
    PWCF,
    SPSA,
    Attack,
    Boundary,
    FastLPA,
    Grid,
    HopSkipJump,
    MixturePGD,
    MomentumIterative,
    MultiSteepestDescent,
    Noise,
    Pointwise,
    RandomSearch,
    SparseL1Descent,
    Square,
)
from hauberk.maths.norms import norm
from hauberk.threats import L0, L1, L2, Linf, Lp
from hauberk.victims.victim import Victim

BOXES = Linf(0.1), Linf(8 / 255)
ROUND = L2(0.5), Lp(1.5, 0.7), Lp(3, 0.3)
BALLS = (*BOXES, *ROUND, L1(1.5), L0(3))

# Attack, threats, and how much of the way to a linear model's optimum it goes in them; None for
# attacks that look for a wrong decision only. Grid is for sets that can be counted: test_search;
# MixturePGD for mixtures: test_mixture.
TABLE = [
    (APGD(steps=60), (*BOXES, *ROUND), 0.999),
    (APGD(steps=100), [L1(1.5)], 0.99),
    (APGD(steps=60, loss="ce"), [*BOXES, L2(0.5)], 0.999),
    (APGD(steps=60), [L0(3)], 0.7),
    (APGD(steps=40, targets=9, loss="margin", restarts=2), (*BOXES, *ROUND, L1(1.5)), 0.99),
    (PGD(steps=50), BOXES, 0.999),
    (PGD(steps=50), ROUND, 0.9),
    (PGD(steps=50, restarts=2, share=0.1), [L1(1.5)], 0.7),
    (PGD(steps=20), [L0(3)], -0.1),
    (PGD(steps=50, momentum=0.75), [Linf(0.1), *ROUND], 0.9),
    (
        PGD(steps=40, rule="gradient", step_size=1.0, loss="margin"),
        [*BOXES, *ROUND, L1(1.5)],
        0.999,
    ),
    (FGSM(), BOXES, 1.0),
    (FGSM(), (*ROUND, L1(1.5), L0(3)), 0.1),
    (SparseL1Descent(steps=100), [L1(1.5)], 0.59),
    (MultiSteepestDescent(steps=100, k=(1, 2)), (*BOXES, *ROUND, L1(1.5)), 0.99),
    (MultiSteepestDescent(steps=100), [L0(3)], 0.6),
    (MomentumIterative(), BOXES, 0.999),
    (MomentumIterative(steps=50), ROUND, 0.53),
    (MomentumIterative(steps=50), [L1(1.5)], 0.95),
    (MomentumIterative(), [L0(3)], 0.35),
    (PWCF(steps=100, cap=inf), [L2(0.5)], 0.99),
    (PWCF(steps=100, cap=inf), [Linf(0.1)], 0.9),
    (SPSA(steps=60, samples=200, chunk=100), BOXES, 0.97),
    (SPSA(steps=60, samples=200, chunk=100), ROUND, 0.77),
    (SPSA(steps=60, samples=200, chunk=100), [L1(1.5)], 0.5),
    (SPSA(steps=60, samples=200, chunk=100), [L0(3)], 0.0),
    (Square(steps=300), BOXES, 0.9),
    (Square(steps=300), (*ROUND, L1(1.5), L0(3)), 0.0),
    (RandomSearch(samples=100), BALLS, 0.19),
    (Noise(steps=10), BALLS, None),
    (Pointwise(steps=10), [L1(1.5), L0(3)], None),
    (Boundary(steps=5), [L2(0.5)], None),
    (HopSkipJump(steps=5), [*BOXES, L2(0.5)], None),
]
ROWS = [(attack, threat, share) for attack, threats, share in TABLE for threat in threats]
NAMES = [f"{type(attack).__name__}-{threat}" for attack, threat, _ in ROWS]
table = pytest.mark.parametrize(("attack", "threat", "share"), ROWS, ids=NAMES)


def asked_by(*args, **options):
    return torch.stack(queries(*args, **options))


def data(n=12, shape=(20,), box=(0.0, 1.0), dtype=torch.float32):
    return inputs(n, shape, seed=2, box=box, dtype=dtype, corners=n // 3)


def test_the_table_lists_every_attack():
    exported = {getattr(attacks, name) for name in attacks.__all__} - {Attack}
    assert {type(attack) for attack, _, _ in TABLE} | {
        Grid,
        LPA,
        FastLPA,
        MixturePGD,
        PPGD,
    } == exported


def short(attack):
    if isinstance(attack, RandomSearch):
        return replace(attack, samples=5)
    return replace(attack, steps=min(attack.steps, 5))


def highest(g, x, threat, box=(0.0, 1.0)):
    """Maximum of ``<g, delta>`` over ball ∩ box, per row, in float64."""
    g, x = g.double(), x.double().flatten(1)
    scale = g.abs().amax()
    return scale * _highest(g / scale, x, threat, box)


def _highest(g, x, threat, box):
    room = torch.where(g > 0, box[1] - x, x - box[0])
    size, p = g.abs(), threat.p
    if p == inf:
        return (size * room.clamp(max=threat.eps)).sum(1)
    if p == 0:
        return (size * room).topk(int(threat.eps), dim=1).values.sum(1)
    if p == 1:
        order = size.argsort(dim=1, descending=True)
        cap = room.gather(1, order)
        filled = cap.cumsum(1).clamp(max=threat.eps)
        return (filled.diff(dim=1, prepend=filled[:, :1] * 0) * size.gather(1, order)).sum(1)
    low, high = torch.full((len(x), 1), -60.0).double(), torch.full((len(x), 1), 60.0).double()
    for _ in range(200):
        mid = (low + high) / 2
        delta = torch.minimum((size / mid.exp()).pow(1 / (p - 1)), room)
        outside = norm(delta, p).unsqueeze(1) > threat.eps
        low, high = torch.where(outside, mid, low), torch.where(outside, high, mid)
    return (torch.minimum((size / high.exp()).pow(1 / (p - 1)), room) * size).sum(1)


def test_the_optimum_of_the_oracle_is_reached_by_nobody_and_approached_by_chance():
    g, x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), data(4, (3,))
    delta = torch.rand(200_000, 1, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for threat in (Linf(0.3), L2(0.6), L1(0.9), Lp(1.5, 0.7), Lp(3, 0.6)):
        near = (x + delta).clamp(0, 1) - x
        inside = norm(near.flatten(0, 1).double(), threat.p).view(-1, 4) <= threat.eps
        gain = torch.where(inside, (near * g).sum(2), -inf).amax(0)
        best = highest(g, x, threat)
        assert (gain <= best + 1e-6).all()
        assert (gain >= 0.9 * best).all()


@table
@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
def test_finds_the_optimum_of_a_linear_model(attack, threat, share, box):
    if share is None:
        pytest.skip("looks for a wrong decision, not for the largest loss")
    model = Linear()
    x = data(box=box)
    y = model(x).argmax(1)
    out = attack(model, x, y, threat, box=box, stop=False)
    judged(model, threat, x, y, out, box)
    sign = torch.where(y == 0, 1.0, -1.0).unsqueeze(1)
    g = sign * (model.weight[:, 1] - model.weight[:, 0]).detach()
    gain = ((out.points - x) * g).sum(1)
    best = highest(g, x, threat, box)
    assert (gain <= best * (1 + 1e-5) + 1e-6).all()
    assert (gain / best).min() >= share - 1e-4


@pytest.mark.parametrize("threat", BALLS, ids=str)
def test_targets_find_the_optimum_of_a_linear_model_with_many_classes(threat):
    model = Linear(classes=4)
    x = data()
    y = model(x).argmax(1)
    out = APGD(steps=60, loss="margin", targets=3)(model, x, y, threat, stop=False)
    judged(model, threat, x, y, out)
    clean, optimum = model(x).detach(), []
    for j in range(4):
        g = (model.weight.T[j] - model.weight.T[y]).detach()
        margin = clean[:, j] - clean.gather(1, y.unsqueeze(1)).squeeze(1)
        optimum.append(torch.where(y == j, -inf, margin + highest(g, x, threat)))
    optimum = torch.stack(optimum).amax(0)
    torch.testing.assert_close(out.loss.double(), optimum, rtol=0.03, atol=0.01)
    # and it is broken where it can be
    clear = optimum.abs() > 0.1
    assert torch.equal(out.fooled[clear], optimum[clear] >= 0)


@table
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float32], ids=str)
def test_feasible_to_the_last_bit(attack, threat, share, dtype):
    """On a curved model, in the dtype of inputs and model, with and without stopping."""
    attack = short(attack)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3)).to(dtype)
    x = data(8, (5, 2, 2), dtype=torch.float64).to(dtype)
    y = model(x).argmax(1)
    for stop in (True, False):
        out = attack(model, x, y, threat, stop=stop)
        assert out.points.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        verdict = judged(model, threat, x, y, out)
        assert torch.equal(verdict.wrong, out.fooled)
        assert out.loss.isfinite().all()


@table
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 1e30])
def test_models_without_a_gradient(attack, threat, share, value):
    attack = short(attack)

    flat, x = Constant(value, 0.0, -1.0), data(4)
    y = torch.tensor([0, 0, 1, 2])
    out = attack(flat, x, y, threat)
    verdict = judged(flat, threat, x, y, out)
    assert torch.equal(out.fooled, verdict.wrong)
    expected = [True] * 4 if value == 0 or value != value else [False, False, True, True]
    assert out.fooled.tolist() == expected
    assert out.points.isfinite().all()


MARGINS = [
    row
    for row in ROWS
    if row[0].loss == "margin" and getattr(row[0], "rule", None) != "gradient" and row[2]
]


@pytest.mark.parametrize(("attack", "threat", "share"), MARGINS, ids=lambda v: str(v)[:40])
@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_tiny_and_huge_gradients(attack, threat, share, size):
    model = Linear()
    with torch.no_grad():
        model.weight.mul_(size)
    x = data()
    y = model(x).argmax(1)
    out = attack(model, x, y, threat, stop=False)
    judged(model, threat, x, y, out)
    g = (
        torch.where(y == 0, 1.0, -1.0).unsqueeze(1)
        * (model.weight[:, 1] - model.weight[:, 0]).detach()
    )
    gain = ((out.points - x).double() * g.double()).sum(1)
    assert (gain / highest(g, x, threat)).min() >= share - 0.02


@table
@pytest.mark.parametrize("size", [1e-44, 1e38])
def test_gradients_at_the_ends_of_the_floats_do_no_harm(attack, threat, share, size):
    attack = short(attack)
    model = Linear()
    with torch.no_grad():
        model.weight.mul_(size)
    x = data(4)
    y = torch.tensor([0, 1, 0, 1])
    for stop in (True, False):
        out = attack(model, x, y, threat, stop=stop)
        judged(model, threat, x, y, out)


@table
def test_no_radius_no_change(attack, threat, share):
    attack = short(attack)
    model = Linear()
    x = data()
    y = model(x).argmax(1)
    for stop in (True, False):
        out = attack(model, x, y, threat.scaled(0), stop=stop)
        assert torch.equal(out.points, x)
        assert not out.fooled.any()
        assert not out.distance.any()
        wrong = attack(model, x, 1 - y, threat.scaled(0), stop=stop)
        assert torch.equal(wrong.points, x)
        assert wrong.fooled.all()


@table
def test_the_passes_are_as_many_as_announced(attack, threat, share):
    attack = short(attack)
    model = Linear(classes=3)
    x = data(3)
    victim = Victim(model)
    out = attack(victim, x, model(x).argmax(1), threat, stop=False)
    look = 1 if attack.targets else 0
    attempts = attack.attempts(3)
    backwards = attack.steps if attack.kind == "gradient" else 0
    assert out.forwards.tolist() == [attempts * (attack.passes - backwards) + look] * 3
    assert out.backwards.tolist() == [attempts * backwards] * 3
    assert (victim.forwards, victim.backwards) == (
        int(out.forwards.sum()),
        int(out.backwards.sum()),
    )


@table
def test_no_example_depends_on_its_neighbours(attack, threat, share):
    # In float64: signs of gradients and of losses' differences magnify what rounding does.
    attack = short(attack)
    x = data(6, dtype=torch.float64)
    model = network(20, 30, 3, dtype=torch.float64)
    y = model(x).argmax(1)
    together = attack(model, x, y, threat, seed=5, stop=False)
    few = attack(model, x, y, threat, seed=5, stop=False, batch_size=10)
    torch.testing.assert_close(few.points, together.points, rtol=0, atol=1e-6)
    alone = attack(model, x[4:5], y[4:5], threat, seed=5, stop=False, ids=torch.tensor([4]))
    torch.testing.assert_close(alone.points[0], together.points[4], rtol=0, atol=1e-6)


@table
def test_a_warm_start_that_fools_is_kept(attack, threat, share):
    attack = short(attack)
    if isinstance(attack, APGD):  # in l1 it would begin in a larger ball, where nothing counts
        attack = replace(attack, enlarge=(1.0,))
    model, x = Linear(), data()
    y = model(x).argmax(1)
    broken = APGD(steps=40)(model, x, y, threat)
    rows = broken.fooled
    assert rows.any()
    out = attack(model, x[rows], y[rows], threat, warm=broken.points[rows].unsqueeze(1))
    assert out.fooled.all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: APGD(steps=0), "steps is 0: give 1 or more"),
        (lambda: PGD(restarts=0), "restarts is 0"),
        (lambda: PGD(targets=-1), "targets is -1"),
        (lambda: APGD(loss="hinge"), "unknown loss 'hinge': choose one of ce, ce_scaled, margin"),
        (lambda: APGD(loss="soft_margin", targets=3), "unknown targeted loss 'soft_margin'"),
        (lambda: APGD(enlarge=(3.0, 2.0)), "last radius must be 1"),
        (lambda: APGD(enlarge=()), "last radius must be 1"),
        (lambda: PGD(step_size=0), "step_size is 0"),
        (lambda: PGD(step_size=-0.1), "step_size is -0.1"),
        (lambda: PGD(step_size=float("nan")), "step_size is nan"),
        (lambda: PGD(momentum=-1), "momentum is -1"),
        (lambda: PGD(momentum=float("nan")), "momentum is nan"),
        (lambda: PGD(rule="newton"), "unknown rule 'newton'"),
        (lambda: PGD(share=0.0), "share is 0.0"),
        (lambda: PGD(share=(0.1, 1.5)), "share is"),
        (lambda: FGSM(steps=2), "FGSM takes one step, not 2"),
    ],
)
def test_bad_hyper_parameters(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_attacks_are_values():
    assert APGD(steps=5) == APGD(steps=5)
    assert APGD(steps=5) != APGD(steps=6)
    assert len({PGD(), PGD(), FGSM()}) == 2
    with pytest.raises(AttributeError):
        PGD().steps = 3
    assert PGD(steps=3).describe()["attack"] == "PGD"
    assert "steps=3" in repr(PGD(steps=3))
    described = SparseL1Descent().describe()
    assert SparseL1Descent(
        **{k: v for k, v in described.items() if k not in ("attack", "kind")}
    ) == (SparseL1Descent())


def test_a_loss_of_ones_own():
    model = Linear(classes=3)
    x = data()
    y = model(x).argmax(1)

    def towards_two(logits, y):
        return logits[:, 2]

    out = PGD(loss=towards_two, steps=20)(model, x, y, Linf(0.1), stop=False)
    g = model.weight[:, 2].detach().expand(12, 20)
    best = model(x)[:, 2].detach() + highest(g, x, Linf(0.1))
    torch.testing.assert_close(out.loss.double(), best, rtol=1e-4, atol=1e-4)
