import pytest
import torch
from helpers.models import Linear, Wrapped
from torch import nn

from hauberk import InputError, evaluate
from hauberk.attacks import APGD, PGD
from hauberk.attacks.transfer import Transfer
from hauberk.evaluation.core.judge import judge
from hauberk.evaluation.transfer import TransferReport, transfer
from hauberk.objectives.expectation import Expectation
from hauberk.store.files import plain
from hauberk.threats import L1, L2, Box, Linf
from hauberk.victims.averaged import Averaged
from hauberk.victims.victim import Victim


def net(seed=0, classes=2, features=6, dtype=torch.float64):
    return Linear(features, classes, seed=seed, dtype=dtype)


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


def masked(model):
    """Decides as its model does; its gradient points the wrong way."""
    return Wrapped(model, Reverse.apply)


def data(model, n=40, features=6):
    rng = torch.Generator().manual_seed(1)
    x = 0.2 + 0.6 * torch.rand(n, features, generator=rng, dtype=torch.float64)
    return x, model(x).argmax(1)


PLAIN = PGD(steps=4, loss="margin", random_start=False)


def robust(model, x, y, eps):
    """Exactly, for two classes in linf where the box is out of reach."""
    way = model.weight[:, 1] - model.weight[:, 0]
    return ((x @ way).abs() > eps * way.abs().sum()) & (model(x).argmax(1) == y)


@pytest.mark.parametrize("eps", [0.02, 0.05, 0.1])
def test_a_masked_copy_falls_to_the_points_of_the_original(eps):
    model = net()
    x, y = data(model)
    y[:4] = 1 - y[:4]  # some are wrong from the start
    report = transfer({"plain": model, "masked": masked(model)}, x, y, Linf(eps), PLAIN)
    exact = float(robust(model, x, y, eps).double().mean())
    assert report.clean == {"plain": 0.9, "masked": 0.9}
    assert report.whitebox == {"plain": exact, "masked": 0.9}
    assert report.combined == {"plain": exact, "masked": exact}
    assert exact < 0.9
    assert report.gap == {"plain": 0.0, "masked": 0.9 - exact}
    broken = 0.9 - exact
    expected = {"plain": broken, "masked": broken}
    assert report.broke["plain"] == pytest.approx(expected)
    assert report.broke["masked"] == {"plain": 0.0, "masked": 0.0}
    assert (report.forwards, report.backwards) == (2 * 40 * 5, 2 * 40 * 4)


def test_the_table_is_text():
    report = TransferReport(
        threat="linf:0.1",
        clean={"a": 0.9, "a long name": 0.8},
        whitebox={"a": 0.5, "a long name": 0.75},
        combined={"a": 0.5, "a long name": 0.25},
        broke={"a": {"a": 0.4, "a long name": 0.5}, "a long name": {"a": 0.0, "a long name": 0.05}},
        forwards=1,
        backwards=1,
    )
    assert report.table().splitlines() == [
        "linf:0.1",
        "   model              clean  white-box  combined     gap",
        " 1 a                  90.00      50.00     50.00    0.00",
        " 2 a long name        80.00      75.00     25.00   50.00",
        "   points of, broke       1       2",
        " 1 a                  40.00   50.00",
        " 2 a long name         0.00    5.00",
    ]


def test_unions_and_several_attacks_count_every_point():
    model = net()
    x, y = data(model)
    models = {"plain": model, "masked": masked(model)}
    threats = Linf(0.05), L2(0.15)
    each = [transfer(models, x, y, threat, APGD(steps=5)) for threat in threats]
    both = transfer(models, x, y, threats[0] | threats[1], APGD(steps=5))
    assert both.threat == "linf:0.05 | l2:0.15"
    for kind in ("whitebox", "combined"):
        got = getattr(both, kind)
        assert all(got[name] <= min(getattr(r, kind)[name] for r in each) for name in models)
    good, useless = PGD(steps=5, loss="margin"), PGD(steps=1, step_size=1e-6)
    alone = transfer(models, x, y, threats[0], good)
    two = transfer(models, x, y, threats[0], [useless, good])
    assert two.whitebox["plain"] == alone.whitebox["plain"]
    assert two.forwards == 2 * 40 * (6 + 2)


def test_reproducible_and_reports_progress():
    models = {name: net(seed, classes=4) for seed, name in enumerate("abc")}
    x, y = data(models["a"])
    told = []
    attack = PGD(steps=3)
    one = transfer(models, x, y, L2(0.2), attack, seed=3, progress=told.append)
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert told[-1].done == pytest.approx(1.0)
    assert one == transfer(models, x, y, L2(0.2), attack, seed=3)
    wide = {name: net(seed, classes=4) for seed, name in enumerate("abc")}
    assert one == transfer(wide, x, y, L2(0.2), attack, seed=3, batch_size=7)
    with pytest.raises(InputError, match="no examples"):
        transfer(models, x[:0], y[:0], L2(0.2), attack)


def test_transfer_as_an_attack_finds_what_the_gradient_does_not():
    model = net()
    x, y = data(model)
    threat = Linf(0.05)
    for stop in (True, False):
        blind = PLAIN(masked(model), x, y, threat, stop=stop)
        assert not blind.fooled.any()
        attack = Transfer(sources=[model], attack=PLAIN)
        victim, source = Victim(masked(model)), Victim(model)
        out = attack(victim, x, y, threat, stop=stop)
        assert torch.equal(out.fooled, ~robust(model, x, y, 0.05))
        verdict = judge(victim, threat, x, out.points, y, Box())
        assert verdict.allowed.all()
        assert torch.equal(verdict.wrong, out.fooled)
        torch.testing.assert_close(verdict.margin, -out.loss)
        torch.testing.assert_close(verdict.distance, out.distance)
        again = Transfer(sources={"s": source}, attack=PLAIN)(model, x, y, threat, stop=stop)
        assert torch.equal(again.points, out.points)
        # 4 steps on the source, and one look at the victim
        assert out.forwards.tolist() == [6] * 40
        assert out.backwards.tolist() == [4] * 40
        assert (source.forwards, source.backwards) == (40 * 5, 40 * 4)
        assert attack.passes == 10


@pytest.mark.parametrize("stop", [True, False])
def test_sources_in_turn(stop):
    """The first is blind, the second is the model, the third is not needed where that one hits."""
    model = net()
    x, y = data(model)
    sources = [masked(model), model, net(5)]
    attack = Transfer(sources=sources, attack=PLAIN)
    out = attack(model, x, y, Linf(0.05), stop=stop)
    alone = Transfer(sources=[model], attack=PLAIN)(model, x, y, Linf(0.05))
    hit = alone.fooled
    assert 0 < int(hit.sum()) < 40
    assert torch.equal(out.fooled, hit)
    assert torch.equal(out.points[hit], alone.points[hit])
    assert (out.attempt[hit] == 1).all()
    spent = torch.where(hit, 12, 18) if stop else torch.full((40,), 18)
    assert torch.equal(out.forwards, spent)
    assert torch.equal(out.backwards, torch.where(hit, 8, 12) if stop else spent * 0 + 12)
    assert int((out.forwards + out.backwards).max()) == attack.passes
    torch.testing.assert_close(
        judge(Victim(model), Linf(0.05), x, out.points, y, Box()).margin, -out.loss
    )


def test_crafting_that_stops_costs_less_and_goes_less_far():
    model = net()
    x, y = data(model)
    keen = Transfer(sources=[model], attack=PLAIN)(model, x, y, Linf(0.1))
    brief = Transfer(sources=[model], attack=PLAIN, persist=False)(model, x, y, Linf(0.1))
    assert torch.equal(keen.fooled, brief.fooled)
    assert (brief.forwards <= keen.forwards).all()
    assert brief.forwards.sum() < keen.forwards.sum()
    assert (brief.loss <= keen.loss + 1e-12).all()


@pytest.mark.parametrize(
    "attack", [APGD(steps=3), PGD(steps=2, restarts=2), APGD(steps=2, targets=2, restarts=2)]
)
def test_passes_never_exceed_the_bound(attack):
    sources = [net(seed, classes=4) for seed in range(3)]
    x, y = data(sources[0])
    for loss in ("margin", Expectation("ce", draws=3)):
        mine = Transfer(sources=sources, attack=attack, loss=loss)
        for stop in (True, False):
            out = mine(net(7, classes=4), x, y, L1(0.2), stop=stop)
            most = int((out.forwards + out.backwards).max())
            assert most <= mine.passes * mine.attempts(4)
            assert stop or most == mine.passes


def test_edges():
    model = net(classes=3)
    x, y = data(model, 5)
    attack = Transfer(sources=[net(1, classes=3)], attack=APGD(steps=3))
    assert len(attack(model, x[:0], y[:0], L2(0.1))) == 0
    assert torch.equal(attack(model, x, y, L2(0.0)).points, x)
    one = attack(model, x[2:3], y[2:3], L2(0.3), ids=torch.tensor([2]), stop=False)
    torch.testing.assert_close(one.points, attack(model, x, y, L2(0.3), stop=False).points[2:3])
    wide = attack(model, x * 4 - 1, y, L2(0.3), box=(-1, 3))
    assert judge(Victim(model), L2(0.3), x * 4 - 1, wide.points, y, Box(-1, 3)).allowed.all()
    warm = x.unsqueeze(1) + 0.01
    assert len(attack(model, x, y, L2(0.3), warm=warm)) == 5
    # Nobody else's numbers matter, and none of the user's are moved.
    before = torch.get_rng_state()
    noisy = Averaged(nn.Sequential(nn.Dropout(0.5), model), 3)
    attack(noisy, x, y, L2(0.3))
    assert torch.equal(torch.get_rng_state(), before)
    half = attack(model, x.float(), y, L2(0.3))
    assert half.points.dtype == torch.float32

    broken = Wrapped(model, after=lambda z: z * torch.nan)
    out = attack(broken, x, y, L2(0.3), stop=False)
    assert out.fooled.all()
    out = Transfer(sources=[broken, model], attack=APGD(steps=3))(model, x, y, L2(2.0))
    assert out.fooled.any()


def test_memory_that_runs_out_halves_the_batch():
    def few(x):
        if len(x) > 3:
            raise RuntimeError("can't allocate memory")
        return x

    x, y = data(net())
    attack = Transfer(sources=[net(1)], attack=PLAIN)
    small, whole = attack(Wrapped(net(), few), x, y, Linf(0.1)), attack(net(), x, y, Linf(0.1))
    torch.testing.assert_close(small.points, whole.points)
    assert torch.equal(small.fooled, whole.fooled)


def test_evaluate_takes_it():
    model = net()
    x, y = data(model)
    suite = {"blind": PLAIN, "transfer": Transfer(sources=[model], attack=PLAIN)}
    found = evaluate(masked(model), x, y, Linf(0.05), suite=suite).summary
    assert "transfer beats white-box" in str(found)
    exact = float(robust(model, x, y, 0.05).double().mean())
    assert found["union_accuracy"] == exact
    attacks = found["threats"]["linf:0.05"]["attacks"]
    assert (attacks["blind"]["broke"], attacks["transfer"]["broke"]) == (0, round(40 * (1 - exact)))


def test_the_manifest_names_the_sources_and_the_attack():
    attack = Transfer(sources={"first": net()}, attack=PGD(steps=3))
    told = plain(attack.describe())
    assert told["attack"] == "Transfer"
    assert told["kind"] == "transfer"
    assert told["sources"] == ["first"]
    assert told["crafted"]["attack"] == "PGD"
    assert told["crafted"]["steps"] == 3
    assert plain(Transfer(sources=[net()], attack=PLAIN).describe())["sources"] == ["Linear"]


def test_errors():
    model = net()
    x, y = data(model)
    for make, says in (
        (lambda: Transfer(sources=[], attack=PLAIN), "at least one source"),
        (lambda: Transfer(sources=[model], attack=model), "needs an attack"),
        (lambda: transfer({}, x, y, Linf(0.1), PLAIN), "at least one model"),
        (lambda: transfer({"a": model}, x, y, Linf(0.1), []), "at least one attack"),
        (lambda: transfer({"a": model}, x + 1, y, Linf(0.1), PLAIN), "but the box is"),
        (lambda: Transfer(sources=[model], attack=PLAIN)(model, x, y + 1, Linf(0.1)), "labels"),
    ):
        with pytest.raises(InputError, match=says):
            make()
