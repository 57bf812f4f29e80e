"""Adversarial strategies: the loss of a batch, where it is taken, and what it costs."""

from dataclasses import replace

import pytest
import torch
from helpers.strategies import (
    BALLS,
    CPU,
    FEW,
    L1,
    L2,
    LINF,
    Watched,
    batch,
    digits,
    far,
    loss_of,
    named,
    net,
)
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD, FastLPA, Grid
from hauberk.errors import InputError
from hauberk.threats import Measured
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
)  # fmt: skip
from hauberk.train.strategies.inner_attacks import usual_attack

ON_BALLS = (
    Single(LINF, attack=FEW), PGDLS(L2, attack=FEW, grow=0.2), AVG(BALLS, steps=3),
    MAX(BALLS, steps=3), MSD(BALLS, steps=3), MSD(BALLS, steps=3, ranking="first_order"),
    RandomNorm(BALLS, steps=3), RandomNorm(BALLS, steps=3, per="example"), EAT(BALLS, steps=3),
    RAMP(BALLS, steps=3), TRADES(L1, attack=PGD(steps=3)),
)  # fmt: skip


@pytest.mark.parametrize("strategy", ON_BALLS[:-2], ids=named)
def test_the_loss_is_cross_entropy_inside_the_threats(strategy):
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


@pytest.mark.parametrize("strategy", ON_BALLS, ids=named)
def test_curricula_may_go_in_steps(strategy):
    """A third of the size until a tenth of the training, nothing between, the full size after."""
    x, y = digits(8)
    grow = {"0.5": 0.6, 0.1: 1 / 3}
    for progress, share in ((0.0, 1 / 3), (0.0999, 1 / 3), (0.1, 0.6), (0.499, 0.6), (0.5, 1.0)):
        grown, fixed = Watched(net()), Watched(net())
        loss_of(replace(strategy, grow=grow), batch(grown, x, y, progress=progress))
        sized = replace(strategy, threat=strategy.threat.scaled(share), grow=0.0)
        loss_of(sized, batch(fixed, x, y, progress=progress))
        assert all(torch.equal(a, b) for a, b in zip(grown.seen, fixed.seen, strict=True))
    assert replace(strategy, grow=grow).describe()["grow"] == {"0.5": 0.6, "0.1": 1 / 3}


def test_the_first_of_ten_epochs_is_the_first_step(tmp_path):
    sizes = []

    class Sized(Single):
        def share(self, progress):
            sizes.append(super().share(progress))
            return sizes[-1]

    x, y = digits(21)
    hb.train.fit(net(), (x, y), Sized(LINF, attack=FEW, grow={0.1: 1 / 3}), epochs=10, minibatch=7)
    assert sizes == [1 / 3] * 3 + [1.0] * 27


def test_the_clean_weight_mixes_the_losses():
    given = batch(net(), *digits())
    hard = loss_of(Single(LINF, attack=FEW), given)
    mixed = loss_of(Single(LINF, attack=FEW, clean=0.25), given)
    clean = loss_of(Standard(), given).value
    assert torch.isclose(mixed.value, 0.75 * hard.value + 0.25 * clean)
    assert mixed.forwards == 2 * hard.forwards


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
    "shares of the training and of the size": lambda: Single(LINF, grow={0.1: 1.5}),
    "e.g. {0.1: 1/3}": lambda: Single(LINF, grow={"epoch 1": 0.5}),
    "grow is {0: 0.5}": lambda: Single(LINF, grow={0: 0.5}),
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


def train(strategy, x, y, steps=80, size=48):
    model = net()
    tables = strategy.begin(len(x), CPU)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    order = torch.Generator().manual_seed(0)
    for step in range(steps):
        ids = torch.randint(len(x), (size,), generator=order)
        given = batch(model, x[ids], y[ids], ids=ids, step=step, progress=step / steps)
        found = strategy.loss(given, tables)
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
