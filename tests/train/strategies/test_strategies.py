"""Training strategies: the loss of a batch, where it is taken, and what it costs."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toys import blobs

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD, FastLPA, Grid
from hauberk.data import load_data
from hauberk.errors import InputError
from hauberk.threats import Affine, Measured
from hauberk.threats.base import Box
from hauberk.train import (
    AVG,
    EAT,
    MAX,
    MSD,
    PGDLS,
    RAMP,
    TRADES,
    RandomNorm,
    Single,
    Standard,
    fit,
)  # fmt: skip
from hauberk.train.strategies.adversarial import divergence, usual_attack
from hauberk.train.strategies.base import Batch
from hauberk.train.strategies.eat import chances
from hauberk.train.strategies.trades import Divergence
from hauberk.victims.victim import Victim

LINF, L2, L1 = hb.Linf(0.1), hb.L2(0.5), hb.L1(1.5)
BALLS = LINF | L2 | L1
FEW = PGD(steps=3, random_start=False)
CPU = torch.device("cpu")
ON_BALLS = (
    Single(LINF, attack=FEW), PGDLS(L2, attack=FEW, grow=0.2), AVG(BALLS, steps=3),
    MAX(BALLS, steps=3), MSD(BALLS, steps=3), MSD(BALLS, steps=3, ranking="first_order"),
    RandomNorm(BALLS, steps=3), RandomNorm(BALLS, steps=3, per="example"), EAT(BALLS, steps=3),
    RAMP(BALLS, steps=3), TRADES(L1, attack=PGD(steps=3)),
)  # fmt: skip


def named(strategy):
    return type(strategy).__name__


class Watched(nn.Module):
    """A model that keeps what it was given."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, x):
        self.seen.append(x.detach())
        return self.model(x)


def net(features=64, classes=10, hidden=24):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )


def digits(n=24):
    data = load_data("digits:train")
    return data.images[:n], data.labels[:n]


def batch(model, x, y, **changes):
    whole = Batch(
        model=model, victim=Victim(getattr(model, "model", model)), x=x, y=y,
        ids=torch.arange(len(x)), step=4, epoch=0, progress=0.5, seed=0, box=Box(),
    )  # fmt: skip
    return replace(whole, **changes)


def loss_of(strategy, given):
    return strategy.loss(given, strategy.begin(len(given.x), CPU))


@pytest.mark.parametrize("strategy", ON_BALLS[:-2], ids=named)
def test_the_loss_is_cross_entropy_at_points_strictly_inside_the_threats(strategy):
    x, y = digits()
    model = Watched(net())
    found = loss_of(strategy, batch(model, x, y))
    each = [F.cross_entropy(model.model(points), y) for points in model.seen]
    assert torch.isclose(found.value, torch.stack(each).mean())
    threats = strategy.inner
    if len(each) == len(threats):
        for threat, points in zip(threats, model.seen, strict=True):
            assert threat.contains(x, points).all()
    else:
        assert len(each) == 1
        assert strategy.threat.contains(x, model.seen[0]).all()
    assert not torch.equal(model.seen[0], x)


@pytest.mark.parametrize("strategy", [Standard(), *ON_BALLS], ids=named)
@pytest.mark.parametrize("case", ["double", "one", "none", "vectors", "box", "two"])
def test_ordinary_inputs(strategy, case):
    x, y = digits(6)
    model, changes = net(), {}
    if case == "double":
        x, model = x.double(), model.double()
    elif case in ("one", "none"):
        x, y = x[: case == "one"], y[: case == "one"]
    elif case == "vectors":
        x = x.flatten(1)
    elif case == "box":
        x, changes = x * 2 - 1, {"box": Box(-1, 1)}
    else:
        model, y = net(classes=2), y % 2
    model = Watched(model)
    strategy.check(x, y, changes.get("box", Box()))
    found = loss_of(strategy, batch(model, x, y, **changes))
    assert found.value.dim() == 0
    assert found.value.isfinite()
    found.value.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    box = changes.get("box", Box())
    assert all((seen >= box.lo).all() and (seen <= box.hi).all() for seen in model.seen)
    assert all(log.dim() == 0 and not log.requires_grad for log in found.logs.values())
    assert all(seen.dtype == x.dtype for seen in model.seen)


def test_max_is_at_least_avg_is_at_least_clean():
    x, y = digits()
    given = batch(net(), x, y)
    clean = loss_of(Standard(), given).value
    # From the clean input the largest loss met is at least its own.
    average = loss_of(AVG(BALLS, attacks=FEW), given).value
    largest = loss_of(MAX(BALLS, attacks=FEW), given).value
    assert largest > average > clean


def test_max_takes_each_example_from_the_attack_of_largest_loss():
    x, y = digits()
    model = Watched(net())
    # Sizes at which no threat is worst for all.
    threat = hb.Linf(0.1) | hb.L2(0.6) | hb.L1(2.5)
    strategy = MAX(threat, steps=3)
    given = batch(model, x, y)
    found = loss_of(strategy, given)
    alone = [
        given.attack(strategy.attack_on(part), part, stream=k)
        for k, part in enumerate(threat.parts)
    ]
    losses = torch.stack([F.cross_entropy(model(o.points), y, reduction="none") for o in alone])
    which = losses.argmax(0)
    assert len(which.unique()) > 1
    for row, k in enumerate(which.tolist()):
        assert torch.equal(model.seen[0][row], alone[k].points[row])
    shares = torch.stack(list(found.logs.values()))
    assert torch.equal(shares, torch.bincount(which, minlength=3) / len(x))


def test_max_takes_warps_and_mixtures():
    x, y = digits(8)
    threat = hb.RotationTranslation(30, 1) | LINF | Affine(LINF, L1)
    strategy = MAX(threat, steps=2)
    strategy.check(x, y, Box())
    given = batch(net(), x, y)
    largest = loss_of(strategy, given)
    alone = [F.cross_entropy(given.model(given.attack(strategy.attack_on(t), t, stream=k).points),
                             y) for k, t in enumerate(threat.parts)]  # fmt: skip
    assert all(largest.value >= loss for loss in alone)
    ten = given.victim.forwards
    given.attack(strategy.attack_on(threat.parts[0]), threat.parts[0])
    assert given.victim.forwards - ten == 10 * len(x)


@pytest.mark.parametrize("threat", [hb.Linf(0), hb.L2(0), hb.L1(0)], ids=str)
def test_size_0_is_standard_training(threat):
    given = batch(net(), *digits())
    clean = loss_of(Standard(), given).value
    assert torch.equal(loss_of(Single(threat), given).value, clean)
    assert torch.equal(loss_of(TRADES(threat), given).value, clean)
    assert torch.equal(loss_of(PGDLS(LINF), replace(given, progress=0.0)).value, clean)
    assert torch.equal(loss_of(Single(LINF, clean=1.0, attack=FEW), given).value, clean)


@pytest.mark.parametrize("strategy", ON_BALLS, ids=named)
def test_curricula_scale_the_radius(strategy):
    x, y = digits(8)
    for progress, share in ((0.1, 0.25), (0.4, 1.0), (0.9, 1.0)):
        grown, fixed = Watched(net()), Watched(net())
        loss_of(replace(strategy, grow=0.4), batch(grown, x, y, progress=progress))
        sized = replace(strategy, threat=strategy.threat.scaled(share), grow=0.0)
        loss_of(sized, batch(fixed, x, y, progress=progress))
        assert len(grown.seen) == len(fixed.seen)
        assert all(torch.equal(a, b) for a, b in zip(grown.seen, fixed.seen, strict=True))


def test_the_clean_weight_mixes_the_losses():
    given = batch(net(), *digits())
    hard = loss_of(Single(LINF, attack=FEW), given)
    mixed = loss_of(Single(LINF, attack=FEW, clean=0.25), given)
    clean = loss_of(Standard(), given).value
    assert torch.isclose(mixed.value, 0.75 * hard.value + 0.25 * clean)
    assert mixed.forwards == 2 * hard.forwards


def test_trades_is_clean_loss_and_divergence():
    x, y = digits()
    model = Watched(net())
    found = loss_of(TRADES(LINF, beta=3.0, attack=PGD(steps=5)), batch(model, x, y))
    clean, attacked = (model.model(points) for points in model.seen)
    p, q = clean.softmax(1), attacked.softmax(1)
    expected = F.cross_entropy(clean, y) + 3 * (p * (p / q).log()).sum(1).mean()
    assert torch.isclose(found.value, expected)
    assert torch.equal(model.seen[0], x)
    assert LINF.contains(x, model.seen[1]).all()


def test_the_attack_of_trades_maximises_the_divergence_of_its_own_example():
    # In chunks of 5 and in any order: every row is compared with its own clean output.
    x, y = digits(17)
    model = net()
    victim = Victim(model, 5)
    attack = PGD(steps=5, loss=Divergence(victim=victim), restarts=2)
    found = attack(victim, x, y, LINF, stop=False)
    assert torch.allclose(found.loss, divergence(model(x), model(found.points)), atol=1e-6)
    random = LINF.project(x, x + 0.1 * torch.randn(x.shape, generator=torch.Generator()).sign())
    assert (found.loss > divergence(model(x), model(random))).all()
    order = torch.arange(16, -1, -1)
    other = attack(victim, x[order], y[order], LINF, stop=False, ids=order)
    assert torch.allclose(other.loss[order], found.loss, atol=1e-6)


def test_divergence_in_closed_form_and_at_infinite_logits():
    one, two = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    expected = 0.9 * torch.tensor(1.8).log() + 0.1 * torch.tensor(0.2).log()
    assert torch.isclose(divergence(one, two), expected).all()
    assert divergence(one, one).item() == 0
    sure = torch.tensor([[torch.inf, -torch.inf]])
    assert divergence(sure, sure).item() == 0
    assert torch.isclose(divergence(sure, two), torch.tensor(2.0).log()).all()


def test_random_norm_draws_hang_on_seed_step_and_ids_alone():
    x, y = digits()
    given = batch(net(), x, y)
    by_batch, by_example = RandomNorm(BALLS), RandomNorm(BALLS, per="example")
    draws = torch.stack([by_batch.drawn(replace(given, step=t)) for t in range(300)])
    assert (draws == draws[:, :1]).all()
    assert torch.equal(draws[7], by_batch.drawn(replace(given, step=7, ids=given.ids + 99)))
    share = torch.bincount(draws[:, 0], minlength=3) / 300
    assert (share - 1 / 3).abs().max() < 0.1
    each = by_example.drawn(given)
    rows = torch.tensor([5, 3, 11])
    some = replace(given, x=x[rows], y=y[rows], ids=rows)
    assert torch.equal(by_example.drawn(some), each[rows])
    assert len(each.unique()) == 3
    assert not torch.equal(each, by_example.drawn(replace(given, step=5)))
    assert not torch.equal(each, by_example.drawn(replace(given, seed=5)))
    # The points of an example, too; in float64, for a near tie turns single precision elsewhere.
    whole, part = Watched(net().double()), Watched(net().double())
    loss_of(by_example, batch(whole, x.double(), y))
    by_example.loss(batch(part, x[rows].double(), y[rows], ids=rows), {})
    assert torch.allclose(whole.seen[0][rows], part.seen[0], atol=1e-12)


def test_random_norm_by_example_keeps_each_in_its_own_threat():
    x, y = digits()
    model = Watched(net())
    strategy = RandomNorm(BALLS, per="example")
    given = batch(model, x, y)
    loss_of(strategy, given)
    for row, k in enumerate(strategy.drawn(given).tolist()):
        assert BALLS.parts[k].contains(x[row : row + 1], model.seen[0][row : row + 1]).all()


def test_eat_draws_in_proportion_to_the_errors_that_it_has_seen():
    assert chances([0.6, 0.2]) == pytest.approx([0.75, 0.25])
    assert chances([torch.nan, 0.2]) == chances([0.0, 0.0]) == [0.5, 0.5]
    x, y = digits()
    strategy = EAT(BALLS, steps=2)
    assert [str(t) for t in strategy.inner] == ["linf:0.1", "l1:1.5"]
    assert strategy.threats == BALLS.parts
    given = batch(net(), x, y)
    memory = strategy.begin(100, CPU)
    assert memory["wrong"].shape == (100, 2)
    assert memory["wrong"].isnan().all()
    memory["wrong"][50:60] = torch.tensor([1.0, 0.0])
    found = strategy.loss(given, memory)
    assert found.logs["chance linf:0.1"] == 1
    first = given.attack(strategy.attack_on(LINF), LINF, stream=0)
    assert torch.equal(memory["wrong"][: len(x), 0], first.fooled.float())
    assert memory["wrong"][: len(x), 1].isnan().all()
    assert memory["wrong"][60:].isnan().all()
    drawn = []
    for step in range(120):
        table = {"wrong": torch.full((20, 2), torch.nan)}
        table["wrong"][10:] = torch.tensor([0.75, 0.25])
        strategy.loss(replace(given, step=step, x=x[:1], y=y[:1], ids=given.ids[:1]), table)
        drawn.append(bool(table["wrong"][0, 1].isnan()))
    assert abs(sum(drawn) / 120 - 0.75) < 0.1


def test_ramp_pairs_the_outputs_where_the_first_is_right():
    x, y = digits()
    model = Watched(net())
    with torch.no_grad():
        y = torch.where(torch.arange(len(x)) < 12, model.model(x).argmax(1), y)
    found = loss_of(RAMP(hb.Linf(0.02) | hb.L1(0.5), steps=3, pairing=2.0), batch(model, x, y))
    key, other = (model.model(points) for points in model.seen)
    both = torch.stack([F.cross_entropy(z, y, reduction="none") for z in (key, other)])
    right = key.argmax(1) == y
    assert 0 < right.sum() < len(x)
    p, q = key[right].softmax(1), other[right].softmax(1)
    expected = both.amax(0).mean() + 2 * (p * (p / q).log()).sum(1).mean()
    assert torch.isclose(found.value, expected)
    wrong = loss_of(RAMP(LINF | L1, steps=2), batch(model, x, (model.model(x).argmax(1) + 1) % 10))
    assert wrong.logs["divergence"] == 0
    assert wrong.value.isfinite()
    assert RAMP(BALLS).inner == (LINF, L1)
    assert RAMP(L2 | L1).inner == (L2, L1)


COSTS = (
    (Standard(), 2), (Single(LINF, attack=PGD(steps=10)), 23), (AVG(BALLS, steps=10), 69),
    (MAX(BALLS, steps=10), 65), (MSD(BALLS, steps=10), 56),
    (MSD(BALLS, steps=10, ranking="first_order"), 23), (RandomNorm(BALLS), 23),
    (RandomNorm(BALLS, per="example"), 23), (EAT(BALLS), 23), (RAMP(BALLS), 46),
    (TRADES(LINF), 26), (Single(LINF, attack=PGD(steps=10), clean=0.5), 25),
)  # fmt: skip


@pytest.mark.parametrize(("strategy", "most"), COSTS, ids=lambda c: str(c).partition("(")[0])
def test_costs_in_passes(strategy, most):
    x, y = digits()
    model = Watched(net())
    given = batch(model, x, y)
    found = loss_of(strategy, given)
    assert found.forwards == sum(len(seen) for seen in model.seen)
    assert found.backwards == found.forwards
    victim = given.victim
    spent = victim.forwards + victim.backwards + found.forwards + found.backwards
    assert spent == most * len(x)


def test_usual_attacks():
    assert usual_attack(LINF).steps == 50
    assert usual_attack(L2).steps == 100
    assert {usual_attack(t, 7).steps for t in (LINF, L2, L1, Affine(LINF, L1))} == {7}
    assert usual_attack(hb.RotationTranslation(), 7).samples == 10
    strategy = AVG(BALLS, attacks={"l2": FEW}, steps=4)
    assert strategy.attack_on(L2) is FEW
    assert strategy.attack_on(LINF).steps == 4
    told = AVG(BALLS, attacks={"l2": FEW}).describe()
    assert told["strategy"] == "AVG"
    assert told["threat"] == "linf:0.1 | l2:0.5 | l1:1.5"
    assert told["attacks"]["l2:0.5"]["steps"] == 3
    assert RAMP(BALLS, attacks=APGD(loss="ce")).attack_on(L1) == APGD(loss="ce")


def far(one, two):
    return (one - two).flatten(1).norm(dim=1)


REFUSED = {
    "use MAX, AVG or MSD": lambda: Single(BALLS),
    "use MAX or AVG": lambda: MSD(LINF | hb.RotationTranslation()),
    "use RandomNorm": lambda: EAT(LINF | L2),
    "has 0 of l1": lambda: RAMP(LINF),
    "let it start at random": lambda: TRADES(LINF, attack=FGSM()),
    "targets=0": lambda: TRADES(LINF, attack=PGD(targets=2)),
    "all of them the same": lambda: MAX(BALLS, attacks={"linf": APGD()}),
    "names 'linff'": lambda: AVG(BALLS, attacks={"linff": FEW}),
    "share of the training": lambda: PGDLS(LINF, grow=1.5),
    "weight in": lambda: Single(LINF, clean=-1),
    "choose batch or example": lambda: RandomNorm(BALLS, per="epoch"),
    "unknown ranking": lambda: MSD(BALLS, ranking="worst"),
    "give a threat": lambda: Single(0.3),
    "RandomSearch": lambda: Single(LINF, attack=Grid()),
    "warps images": lambda: AVG(LINF | hb.RotationTranslation()),
    "name one": lambda: Single(Measured(far, 0.5)),
    "finite eps": lambda: Single(Measured(far), attack=FastLPA(loss="ce")),
    "pairing": lambda: RAMP(BALLS, pairing=-1),
    "beta": lambda: TRADES(LINF, beta=-1),
    "steps is 0": lambda: AVG(BALLS, steps=0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_trained_on_is_refused_before_training(message):
    x, y = digits(2)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        REFUSED[message]().check(x.flatten(1), y, Box())


def test_a_threat_known_by_its_distance_takes_a_named_attack():
    x, y = digits(4)
    strategy = Single(Measured(far, 0.5), attack=FastLPA(loss="ce", steps=5))
    strategy.check(x, y, Box())
    model = Watched(net())
    loss_of(strategy, batch(model, x, y))
    assert (far(x, model.seen[0]) <= 0.5).all()


def train(strategy, x, y, steps=80, size=48):
    model = net()
    memory = strategy.begin(len(x), CPU)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    order = torch.Generator().manual_seed(0)
    for step in range(steps):
        ids = torch.randint(len(x), (size,), generator=order)
        given = batch(model, x[ids], y[ids], ids=ids, step=step, progress=step / steps)
        found = strategy.loss(given, memory)
        optimiser.zero_grad()
        found.value.backward()
        optimiser.step()
    return model


def robust(model, x, y, threat):
    kept = torch.ones(len(x), dtype=torch.bool)
    for part in threat.parts:
        kept &= ~usual_attack(part, 20)(model, x, y, part).fooled
    return kept.float().mean().item()


WIDE = hb.Linf(0.15) | hb.L2(0.8) | hb.L1(3)
TRAINED = (
    Single(WIDE.parts[0], attack=FEW), PGDLS(WIDE.parts[0], attack=FEW), AVG(WIDE, steps=3),
    MAX(WIDE, steps=3), RandomNorm(WIDE, steps=3), EAT(WIDE, steps=3),
    MSD(WIDE, steps=3, step_linf=0.4, step_l2=0.4, step_l1=0.5, ranking="first_order"),
    RAMP(WIDE, steps=3, pairing=1.0), TRADES(WIDE.parts[0], attack=PGD(steps=3)),
)  # fmt: skip


@pytest.fixture(scope="module")
def undefended():
    return train(Standard(), *digits(1000))


@pytest.mark.parametrize("strategy", TRAINED, ids=named)
def test_a_short_training_resists_its_threats(strategy, undefended):
    x, y = digits(1000)
    model = train(strategy, x, y)
    before, after = (robust(m, x[:200], y[:200], strategy.threat) for m in (undefended, model))
    assert after > before + 0.12


@pytest.mark.parametrize(
    "make",
    [
        lambda: Single(hb.L2(1), attack=PGD(), soften=0.1),
        lambda: Single(hb.L2(1), attack=PGD(), steps=3),
        lambda: MAX(hb.Union(hb.L2(1), hb.Linf(0.1)), attacks=PGD(loss="ce"), soften=0.1),
    ],
)
def test_what_belongs_to_the_usual_attack_is_refused_beside_one(make):
    with pytest.raises(InputError, match="in the attack instead"):
        make()


def test_softened_attacks_need_a_model_that_can_be_looked_into():
    model = torch.jit.script(net(3, 3))
    strategy = Single(hb.Linf(0.05), steps=2, soften=0.3)
    assert strategy.softens
    assert not Single(hb.Linf(0.05), steps=2).softens
    with pytest.raises(InputError, match="cannot be softened"):
        fit(model, blobs(), strategy, epochs=1)
