"""Mixtures: no weaker than the union, feasible to the last bit, and what the theory says of them.

The theorems are those of Tramèr & Boneh 2019.
"""

from functools import partial
from math import inf

import pytest
import torch
from helpers import oracles
from helpers.data import inputs
from helpers.models import Constant, network

from hauberk import InputError, evaluate
from hauberk.attacks import APGD, PGD, Square
from hauberk.evaluation.core.judge import judge
from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.threats import L0, L1, L2, Box, Linf, Lp, Union, threat
from hauberk.threats.affine import Affine
from hauberk.threats.finite import FiniteSet, Swaps
from hauberk.threats.warp import RotationTranslation
from hauberk.victims.victim import Victim

judged = partial(oracles.judged, most=1 + 1e-12)

PAIRS = [
    Affine(Linf(0.1), L2(0.5)),
    Affine(L2(0.5), Linf(0.1), betas=4),
    Affine(Linf(0.1), L1(1.5)),
    Affine(L1(1.5), Linf(0.1)),
    Affine(L2(0.5), L1(1.5), betas=(0.5,)),
    Affine(Lp(1.5, 0.7), Lp(3, 0.3)),
    Affine(L0(3), Linf(0.1)),
    Affine(Linf(0.1), L0(3)),
    Affine(Swaps(5), Linf(0.1)),
    Affine(Swaps(5), L1(1.5)),
    Affine(FiniteSet([lambda x: x.flip(1)], name="flip"), L2(0.5), betas=3),
]
SMOOTH = [t for t in PAIRS if t.b.p != 0 and getattr(t.a, "p", 1) != 0]
pairs = pytest.mark.parametrize("mixture", PAIRS, ids=str)


def data(n=6, shape=(20,), dtype=torch.float32):
    return inputs(n, shape, dtype=torch.float64, corners=n // 3).to(dtype)


def curved(dtype=torch.float32):
    return network(20, 30, 3, dtype=dtype)


def linear(classes=2):
    return network(20, classes, seed=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(20,), (5, 2, 2)], ids=str)
@pairs
def test_feasible_to_the_last_bit(mixture, shape, dtype):
    model, x = curved(dtype), data(shape=shape, dtype=dtype)
    y = model(x).argmax(1)
    for attack in (APGD(steps=4), PGD(steps=4, rule="gradient", step_size=1.0)):
        for stop in (True, False):
            out = attack(model, x, y, mixture, stop=stop)
            verdict = judged(model, mixture, x, y, out)
            assert torch.equal(verdict.wrong, out.fooled)


@pairs
def test_a_witness_is_checked_step_by_step(mixture):
    """Both steps measured by hand, in float64, from the witness."""
    model, x = curved(), data()
    y = model(x).argmax(1)
    out = APGD(steps=6)(model, x, y, mixture, stop=False)
    beta = torch.tensor(mixture.betas, dtype=torch.float64)[out.witness[:, 0].long()]
    middle = out.witness[:, 1:].double()
    second = norm(out.points.double() - middle, mixture.b.p)
    assert (second <= (1 - beta) * mixture.b.eps).all()
    if hasattr(mixture.a, "p"):
        assert (norm(middle - x.double(), mixture.a.p) <= beta * mixture.a.eps).all()
    else:
        assert (mixture.a.distance(x, middle) <= beta * mixture.a.size + 1e-9).all()
    for spoilt in (-1, 0.5, len(mixture.betas), torch.nan, torch.inf):
        witness = out.witness.clone()
        witness[:, 0] = spoilt
        assert not mixture.contains(x, out.points, witness).any()
        assert mixture.at(x).distance(out.points, witness).isinf().all()
    for place in (1, 20):
        witness = out.witness.clone()
        witness[:, place] += 5
        assert not mixture.contains(x, out.points, witness).any()
    assert not mixture.contains(x, out.points + 1.5, out.witness).any()
    for foreign in (out.witness[:, 1:], out.witness[:3], out.witness[:, 1:].long()):
        assert not mixture.contains(x, x, foreign).any()
        assert mixture.at(x).distance(x, foreign).isinf().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pairs
def test_final_points_are_inside(mixture, dtype):
    x = data(60, dtype=dtype)
    number = torch.arange(60) % mixture.variants
    region = mixture.at(x).at_variant(number)
    torch.manual_seed(0)
    for size in (0.0, 1e-6, 0.3, 1e4):
        u = region.random(Draws.of(0, torch.arange(60)), 0)
        u = region.finalise(u + size * torch.randn_like(u))
        points, witness = region.decode(u), region.witness(u)
        assert torch.equal(witness[:, 0].long(), number)
        assert mixture.contains(x, points, witness).all()
        assert (region.distance(points, witness) <= 1 + 1e-12).all()


def test_each_step_is_held_to_its_own_share():
    """By hand: the first step uses ``used`` of linf 0.1, the second none, at each of the betas."""
    x, mixture = torch.full((5, 4), 0.5, dtype=torch.float64), Affine(Linf(0.1), L2(0.5))
    number = torch.arange(5)
    beta = torch.tensor(mixture.betas, dtype=torch.float64)
    for used in (0.2, 0.4, 0.6, 0.9):
        point = x + 0.1 * used
        witness = torch.cat([number.unsqueeze(1).double(), point], 1)
        assert torch.equal(mixture.contains(x, point, witness), beta >= used)
        torch.testing.assert_close(mixture.at(x).distance(point, witness), used / beta)
        point, witness = x + 0.25 * used, torch.cat([number.unsqueeze(1).double(), x], 1)
        assert torch.equal(mixture.contains(x, point, witness), 1 - beta >= used)
        torch.testing.assert_close(mixture.at(x).distance(point, witness), used / (1 - beta))


def test_the_l1_part_of_a_mixture_stays_sparse():
    """However many coordinates the other part has changed."""
    x = torch.full((3, 30), 0.5)
    region = Affine(Linf(0.1), L1(3)).at(x).at_variant(torch.tensor([0, 2, 2]))
    middle = x + 0.05 * (region.beta > 0).float().unsqueeze(1)
    point = middle.clone()
    point[:2, :6] += 0.2
    grad = torch.rand(3, 30, generator=torch.Generator().manual_seed(0))
    u, share = torch.cat([middle, point], 1), torch.full((3,), 0.5)
    moved = region.ascent(u, torch.cat([grad, grad], 1), 0.1, share)
    changed = (moved[:, 30:] - point).abs() > 1e-6  # linf is at its edge
    # At beta 0 the share asked for; else 6 over 1.5; and where nothing has changed, that asked for.
    assert changed.sum(1).tolist() == [15, 4, 15]


@pairs
def test_without_a_witness_one_step_must_do(mixture):
    x = data()
    ends = [mixture.a.at(x).random(Draws.of(0, torch.arange(6)), 0)]
    ends.append(mixture.b.project(x, x + 0.3 * torch.randn(6, 20)))
    for end in ends:
        assert mixture.contains(x, end).all()
        assert (mixture.distance(x, end) <= 1 + 1e-9).all()
    assert not mixture.contains(x, torch.ones_like(x) * 9, box=(-9, 9)).any()
    assert mixture.contains(x, x).all()
    assert not mixture.distance(x, x).any()


BOTH = [
    (Affine(a, b, betas=2), end)
    for a, b in [(Linf(0.1), L2(0.5)), (L1(1.5), Linf(0.1)), (Linf(0.1), L0(3)), (Swaps(5), L1(1))]
    for end in (0, 1)
]


@pytest.mark.parametrize(("mixture", "end"), BOTH, ids=str)
def test_at_the_ends_a_mixture_moves_as_the_single_threat(mixture, end):
    if end and isinstance(mixture.a, Swaps):
        mixture = Affine(FiniteSet(mixture.a.make, size=1e-9, name="none"), mixture.b)
        end = 0
    x, number = data(), torch.full((6,), end)
    mixed, alone = mixture.at(x).at_variant(number), (mixture.b, mixture.a)[end].at(x)
    u, v = mixed.start(), alone.start()
    torch.manual_seed(0)
    for step in range(12):
        grad = torch.randn_like(v)
        share = torch.rand(6) if mixed.sparse else None
        size = torch.rand(6)
        u = mixed.project_(mixed.ascent(u, torch.cat([grad, grad], 1), size, share))
        moved = alone.ascent(v, grad, size * alone.eps, share)
        v = alone.project_(moved)
        torch.testing.assert_close(mixed.decode(u), v, rtol=0, atol=2e-6, msg=f"step {step}")
        if mixed.sparse:
            changed = (v != x).float().mean(1)
            torch.testing.assert_close((u != mixed.x0).float().mean(1), changed)


@pytest.mark.parametrize("mixture", SMOOTH, ids=str)
def test_no_weaker_than_the_union_on_a_linear_model(mixture):
    model, x = linear(), data()
    y = model(x).argmax(1)
    # Raw gradients, far beyond the ball: on a linear model the projection alone finds the optimum.
    attack = PGD(steps=20, rule="gradient", step_size=30.0, loss="margin")
    out = attack(model, x, y, mixture, stop=False)
    judged(model, mixture, x, y, out)
    for one in (mixture.a, mixture.b):
        alone = attack(model, x, y, one, stop=False)
        assert (out.loss >= alone.loss - 1e-4).all()


def test_all_mixtures_of_a_finite_set_are_covered():
    """One variant for each member, at the least share that allows it."""
    assert Affine(Swaps(4), Linf(1)).betas == (0.0, 0.5, 0.75, 1.0)
    assert Affine(Swaps(4), Linf(1), betas=(0.6,)).betas == (0.0, 0.6, 1.0, 1.0)
    assert Affine(Swaps(4), Linf(1)).variants == 4
    assert Affine(Swaps(0), Linf(1)).betas == (0.0,)
    x = data()
    mixture = Affine(Swaps(4), L2(0.3))
    for j in range(4):
        region = mixture.at(x).at_variant(torch.full((6,), j))
        for u in (region.start(), region.random(Draws.of(0, torch.arange(6)), 0)):
            middle = region.witness(region.project_(u))[:, 1:]
            assert torch.equal(middle, Swaps(4).at(x).candidate(torch.full((6, 1), j)).squeeze(1))


@pairs
def test_models_without_a_gradient_empty_batches_and_no_radius(mixture):
    x, y = data(4), torch.tensor([0, 0, 1, 2])
    for value in (inf, torch.nan, 1e30):
        flat = Constant(value, 0.0, -1.0)
        out = APGD(steps=3)(flat, x, y, mixture)
        assert torch.equal(out.fooled, judged(flat, mixture, x, y, out).wrong)
    model = curved()
    assert APGD(steps=3)(model, x[:0], y[:0], mixture).points.shape == (0, 20)
    nothing = mixture.scaled(0)
    out = APGD(steps=3)(model, x, model(x).argmax(1), nothing, stop=False)
    assert torch.equal(out.points, x)
    assert not out.distance.any()
    one = APGD(steps=3)(model, x[:1], model(x[:1]).argmax(1), mixture)
    judged(model, mixture, x[:1], model(x[:1]).argmax(1), one)


@pairs
def test_slots_may_leave_in_any_order(mixture):
    """Small batches, and a model that falls at different times: the result stays the same."""
    model, x = curved(), data(7)
    y = model(x).argmax(1)
    few = PGD(steps=5, restarts=2)(model, x, y, mixture, batch_size=3)
    many = PGD(steps=5, restarts=2)(model, x, y, mixture, batch_size=64)
    torch.testing.assert_close(few.points[~few.fooled], many.points[~few.fooled])
    assert torch.equal(few.fooled, many.fooled)


def test_a_warm_start_is_taken_up():
    model, x = curved(), data()
    y, mixture = model(x).argmax(1), Affine(Linf(0.1), L2(0.5), betas=2)
    attack = PGD(steps=1, step_size=1e-9, loss="margin", random_start=False)
    good = PGD(steps=20, loss="margin")(model, x, y, L2(0.5), stop=False)
    cold = attack(model, x, y, mixture, stop=False)
    warm = attack(model, x, y, mixture, stop=False, warm=good.points.unsqueeze(1))
    torch.testing.assert_close(warm.loss, good.loss, rtol=1e-3, atol=1e-4)
    assert (warm.loss > cold.loss + 1e-3).any()


def test_an_evaluation_takes_mixtures(tmp_path):
    """Points and witnesses go to the ledger, and prove themselves when they are read again."""
    model, x = curved(), data(12)
    y, mixture = model(x).argmax(1), Affine(Linf(0.1), L1(1.5))
    suite = {"cheap": PGD(steps=2), "dear": APGD(steps=10)}
    run = evaluate(model, x, y, [Linf(0.1), mixture], suite=suite, out=tmp_path / "run")
    assert run.accuracy[str(mixture)] <= run.accuracy["linf:0.1"] < 1
    for key in run.store.keys("attack-"):
        part, tensors = run.store.part(key), run.store.tensors(key)
        mine = part["broken"].astype(bool) & (part["threat"] == str(mixture))
        if mine.any():
            ids, row = torch.from_numpy(part["id"][mine]), torch.from_numpy(part["row"][mine])
            points, witness = tensors["points"][row], tensors["witness"][row]
            assert judge(
                Victim(model), mixture, x[ids], points, y[ids], Box(), witness
            ).broken.all()


def test_boxes_of_ones_own():
    lo, hi = -torch.rand(20), 1 + torch.rand(20)
    model, x = curved(), data()
    y = model(x).argmax(1)
    for mixture in PAIRS[:6]:
        out = APGD(steps=5)(model, x, y, mixture, box=(lo, hi), stop=False)
        judged(model, mixture, x, y, out, Box(lo, hi))


def test_notation():
    for mixture in PAIRS[:-3]:
        assert Affine.read(str(mixture), threat) == mixture
    assert str(Affine(Linf(0.3), L1(10))) == "affine(linf:0.3,l1:10)"
    assert str(Affine(Linf(0.3), L1(10), 3)) == "affine(linf:0.3,l1:10,0.0;0.5;1.0)"
    assert repr(Affine(Linf(0.3), L1(10))) == "Affine(Linf(0.3), L1(10))"
    assert threat("Affine( linf:0.3 , l1:10 )") == Affine(Linf(0.3), L1(10))
    assert Affine.read("linf:0.3", threat) is None
    warped = Affine(RotationTranslation(30, 3), Linf(0.2), 2)
    assert str(warped) == "affine(rt:30,3,linf:0.2,0.0;1.0)"
    assert Affine.read(str(warped), {"rt:30,3": warped.a, "linf:0.2": warped.b}.get) == warped
    assert Affine(Linf(0.3), L1(10)).scaled(0.5) == Affine(Linf(0.15), L1(5))
    assert Affine(Linf(0.3), L1(10)).variants == 5
    assert Affine(Linf(0.3), L1(10), (0.2,)).betas == (0.0, 0.2, 1.0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Affine(Linf(0.3), Swaps(3)), "second threat of a mixture is swaps:3: give a ball"),
        (lambda: Affine(Union(Linf(0.3), L2(1)), L1(1)), "first threat of a mixture"),
        (lambda: Affine(Affine(Linf(0.3), L2(1)), L1(1)), "first threat of a mixture"),
        (lambda: Affine(Linf(0.3), L1(1), 1), "betas is 1: give at least 2"),
        (lambda: Affine(Linf(0.3), L1(1), (0.5, 1.5)), "give shares in"),
        (lambda: Affine(Linf(0.3), L1(1), (torch.nan,)), "give shares in"),
        (lambda: Affine.read("affine(linf:0.3)", threat), "write affine"),
        (lambda: Affine.read("affine(linf:0.3,l1:1", threat), "write affine"),
        (
            lambda: Affine.read("affine(linf:0.3,l1:1,0;x)", threat),
            "'x' is no number: give e.g. 0.3",
        ),
        (lambda: Affine.read("affine()", threat), "write affine"),
        (lambda: Affine.read("affine(linf:0.3,l1:1,l2:2)", threat), "write affine"),
        (
            lambda: Affine.read("affine(linf:0.3,l1:1,0.5)", threat),
            r"cannot read '0.5' .* affine\(A,B,0;",
        ),
        (lambda: Affine.read("affine(rt:30,3,l1:1,0.2,0.5)", threat), "'0.2,0.5' .* semicolons"),
        (lambda: Affine.read("affine(linf:0.3,rt:30,3)", threat), "give a ball"),
        (lambda: Affine(Linf(0.3), L1(1)).project(data(), data()), "has no projection"),
        (
            lambda: Square(steps=3)(
                curved(), data(), torch.zeros(6, dtype=torch.int64), PAIRS[0], stop=False
            ),
            "needs a threat with windows",
        ),
    ],
)
def test_errors(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_the_two_steps_of_a_random_point_are_independent():
    x0 = torch.full((300, 20), 0.5)
    region = Affine(Linf(0.1), Linf(0.1), betas=3).at(x0).at_variant(torch.ones(300).long())
    u = region.random(Draws.of(0, torch.arange(300)), 0)
    middle, x = u[:, :20], u[:, 20:]
    steps = torch.stack(((middle - x0).flatten(), (x - middle).flatten()))
    assert steps.abs().amax(1).tolist() == pytest.approx([0.05, 0.05], rel=0.01)
    assert abs(float(torch.corrcoef(steps)[0, 1])) < 4 / 6000**0.5


def test_a_step_moves_both_parts_and_the_second_with_the_first():
    """By hand: signs for linf, the unit gradient for l2, each in shares of its own budget."""
    x0 = torch.full((2, 6), 0.5, dtype=torch.float64)
    mixture = Affine(Linf(0.2), L2(1.0), betas=(0.25,))
    region = mixture.at(x0).at_variant(torch.tensor([1, 1]))
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(2, 12, generator=generator, dtype=torch.float64)
    u = region.start()
    for _ in range(2):  # the second step starts away from the middle
        before = u
        u = region.ascent(u, grad, 0.1)
        middle = before[:, :6] + 0.1 * 0.2 * 0.25 * grad[:, :6].sign()
        length = grad[:, 6:].norm(dim=1, keepdim=True)
        x = before[:, 6:] + 0.1 * 1.0 * 0.75 * grad[:, 6:] / length
        torch.testing.assert_close(u[:, :6], middle)
        torch.testing.assert_close(u[:, 6:], x + (middle - before[:, :6]))
    # The first step is held to its share before the second rides on it.
    far = region.ascent(u, grad, 3.0)
    held = x0 + 0.05 * grad[:, :6].sign()
    x = u[:, 6:] + 3.0 * 0.75 * grad[:, 6:] / grad[:, 6:].norm(dim=1, keepdim=True)
    torch.testing.assert_close(far[:, 6:], x + (held - u[:, :6]))
