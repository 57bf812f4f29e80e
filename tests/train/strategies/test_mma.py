"""MMA: losses recomputed from closed forms, the table of margins, the hinge; margins of models."""

from math import inf, log

import pytest
import torch
from helpers.training import blobs, net, normalised
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.analysis.margins import margins
from hauberk.models import MLP
from hauberk.solvers.anpgd import ANPGD
from hauberk.solvers.ddn import DDN
from hauberk.threats import Box, Metric
from hauberk.train.strategies.base import Batch
from hauberk.train.strategies.mma import MMA, OMMA
from hauberk.victims.victim import Victim

BOX = Box(-50.0, 50.0)
CPU = torch.device("cpu")
DUAL = {1: inf, 2: 2, inf: 1}


def linear(features=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 2)).double()


def data(n=9, shape=(4,), seed=1):
    rng = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(n, *shape, generator=rng, dtype=torch.float64) - 1
    return x, torch.randint(2, (n,), generator=rng)


def true_margins(model, x, y, p):
    """|logit margin| over the dual norm of its gradient; 0 where the model is wrong."""
    weight = model[1].weight.detach()
    z = model(x).detach()
    gap = (z.gather(1, y[:, None]) - z.gather(1, 1 - y[:, None])).squeeze(1)
    normal = weight[1] - weight[0]
    return gap.clamp_min(0) / torch.linalg.vector_norm(normal, DUAL[p])


def batch(model, x, y, *, ids=None, box=BOX, size=None, step=0):
    ids = torch.arange(len(x)) if ids is None else ids
    return Batch(
        model=model, victim=Victim(model, size), x=x, y=y, ids=ids, step=step, epoch=0,
        progress=0.0, seed=0, box=box,
    )  # fmt: skip


def fine(p, d_max, kind=MMA, **options):
    """From the clean input: a random start keeps a few per cent of itself in the direction."""
    options = {"steps": 80, "bisections": 40, "eps_init": 0.3, "share": 0.25, **options}
    return kind(Metric(p), d_max=d_max, random_start=False, **options)


@pytest.mark.parametrize("p", [1, 2, inf])
@pytest.mark.parametrize("clean", [1 / 3, 0.0, 0.5])
def test_the_loss_is_the_papers_with_margins_in_closed_form(p, clean):
    model, (x, y) = linear(), data()
    true = true_margins(model, x, y, p)
    right = true > 0
    assert 3 <= int(right.sum()) < len(x)
    d_max = float(true[right].median()) * 1.1
    kept = right & (true < d_max)
    assert 0 < int(kept.sum()) < int(right.sum())
    strategy = fine(p, d_max, clean=clean)
    tables = strategy.begin(len(x), CPU)
    loss = strategy.loss(batch(model, x, y, size=2), tables)
    each = F.cross_entropy(model(x), y, reduction="none")
    # At the boundary of two classes the cross-entropy is log 2.
    want = each[~right].sum() + clean * each[right].sum() + (1 - clean) * log(2) * kept.sum()
    torch.testing.assert_close(loss.value, want / len(x), rtol=1e-6, atol=0)
    capped = true.clamp(max=1.05 * d_max)
    torch.testing.assert_close(tables["eps"][right].double(), capped[right], rtol=1e-5, atol=0)
    assert torch.equal(tables["eps"][~right], torch.full((int((~right).sum()),), 0.3))
    assert float(loss.logs["margin"]) == pytest.approx(float(capped.mean()), rel=1e-2)
    assert float(loss.logs["small"]) == pytest.approx(float((capped < 0.05).double().mean()))
    assert float(loss.logs["hinge"]) == pytest.approx(float(kept.double().mean()))
    assert float(loss.logs["wrong"]) == pytest.approx(float((~right).double().mean()))
    passes = len(x) - (0 if clean else int(right.sum())) + int(kept.sum())
    assert (loss.forwards, loss.backwards) == (passes, passes)


def test_the_gradient_is_that_of_the_three_terms_at_fixed_points():
    model, (x, y) = linear(), data()
    true = true_margins(model, x, y, 2)
    right, d_max = true > 0, float(true.median()) * 1.5
    strategy = fine(2, d_max)
    run = batch(model, x, y)
    rows = right.nonzero().squeeze(1)
    found = strategy.find(run, rows, torch.full((len(rows),), 0.3))
    kept = found.fooled & (found.distance < d_max)
    far = F.cross_entropy(model(found.points[kept]), y[rows[kept]], reduction="sum")
    near = F.cross_entropy(model(x), y, reduction="none")
    want = (near[~right].sum() + near[right].sum() / 3 + 2 / 3 * far) / len(x)
    loss = strategy.loss(run, strategy.begin(len(x), CPU))
    torch.testing.assert_close(loss.value, want)
    parameters = list(model.parameters())
    got = torch.autograd.grad(loss.value, parameters)
    torch.testing.assert_close(got, torch.autograd.grad(want, parameters))
    # Points of the search fool the model, just.
    z = model(found.points).detach()
    assert bool((z.argmax(1) != y[rows])[found.fooled].all())


def test_only_the_least_margin_counts_if_that_is_asked_for():
    model, (x, y) = linear(), data()
    right = true_margins(model, x, y, 2) > 0
    loss = fine(2, 100.0, objective="minimum").loss(
        batch(model, x, y), {"eps": torch.full((len(x),), 0.3)}
    )
    each = F.cross_entropy(model(x), y, reduction="none")
    want = (each[~right].sum() + each[right].sum() / 3) / len(x) + 2 / 3 * log(2)
    torch.testing.assert_close(loss.value, want, rtol=1e-3, atol=0)


def test_ddn_finds_the_same_margins_in_l2_and_no_other():
    model, (x, y) = linear(), data()
    true = true_margins(model, x, y, 2)
    strategy = fine(2, 10.0, solver=DDN(steps=300, eps=0.3))
    tables = strategy.begin(len(x), CPU)
    strategy.loss(batch(model, x, y), tables)
    right = true > 0
    torch.testing.assert_close(tables["eps"][right].double(), true[right], rtol=1e-2, atol=1e-3)
    with pytest.raises(hb.InputError, match="DDN does not measure"):
        MMA(hb.Linf(0.1), solver=DDN())


def test_margins_that_are_kept_have_a_floor_and_rows_go_by_id():
    model, (x, y) = linear(), data()
    true = true_margins(model, x, y, 2)
    floor = float(true.max()) * 0.9
    strategy = fine(2, 100.0, eps_min=floor)
    ids = torch.arange(len(x)) * 2 + 1
    tables = strategy.begin(2 * len(x) + 1, CPU)
    strategy.loss(batch(model, x, y, ids=ids), tables)
    assert torch.equal(tables["eps"][::2], torch.full((len(x) + 1,), 0.3))
    want = torch.where(true > 0, true.clamp_min(floor), 0.3)
    torch.testing.assert_close(tables["eps"][1::2].double(), want, rtol=1e-3, atol=0)


def test_the_search_begins_at_the_margin_of_the_last_visit():
    torch.manual_seed(0)
    model, (x, _) = MLP((4, 8, 3)).double(), data()
    y = model(x).argmax(1)
    eps = torch.linspace(0.05, 1.5, len(x), dtype=torch.float64)
    together = ANPGD(steps=3, bisections=4, eps=eps)(model, x, y, "l2", box=BOX, batch_size=2)
    for i, one in enumerate(eps.tolist()):
        alone = ANPGD(steps=3, bisections=4, eps=one)(
            model, x[i : i + 1], y[i : i + 1], "l2", box=BOX, ids=torch.tensor([i])
        )
        torch.testing.assert_close(together.points[i], alone.points[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("eps", [torch.tensor([0.1, -1.0]), torch.tensor([[0.1]])])
def test_radii_must_be_one_number_above_0_for_each_example(eps):
    with pytest.raises(hb.InputError, match="one number above 0"):
        ANPGD(eps=eps)
    model, (x, y) = linear(), data()
    with pytest.raises(hb.InputError, match="2 radii eps for 9 examples"):
        ANPGD(eps=torch.ones(2))(model, x, y, "l2", box=BOX)


def test_omma_has_no_loss_where_all_is_well():
    model, (x, _) = linear(), data()
    y = model(x).argmax(1)
    loss = fine(2, 1e-6, OMMA).loss(batch(model, x, y), {"eps": torch.full((9,), 0.3)})
    loss.value.backward()
    assert loss.value.item() == 0
    assert all(bool((p.grad == 0).all()) for p in model.parameters())


def test_an_empty_batch_has_no_loss():
    model, (x, y) = linear(), data()
    strategy = MMA(hb.L2(1.0))
    loss = strategy.loss(batch(model, x[:0], y[:0]), strategy.begin(3, CPU))
    loss.value.backward()
    assert loss.value.item() == 0


def test_training_raises_the_margins_that_it_is_about():
    data = hb.data.load_data("digits:train")
    x, y = data.images[:300], data.labels[:300]

    def train(strategy):
        torch.manual_seed(0)
        model, rng = MLP((64, 16, 10)), torch.Generator().manual_seed(0)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        tables = {} if strategy is None else strategy.begin(len(x), CPU)
        for step in range(60):
            ids = torch.randperm(len(x), generator=rng)[:50]
            if strategy is None:
                loss = F.cross_entropy(model(x[ids]), y[ids])
            else:
                run = batch(model, x[ids], y[ids], ids=ids, box=Box(), step=step)
                loss = strategy.loss(run, tables).value
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float(margins(model, x[:60], y[:60], steps=50).mean())

    plain = train(None)
    assert train(MMA(hb.L2(2.0), steps=5, bisections=5)) > 1.1 * plain


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MMA(hb.L0(3)), "p >= 1"),
        (lambda: MMA(hb.RotationTranslation(30, 3)), "p >= 1"),
        (lambda: MMA(Metric(2)), "d_max"),
        (lambda: MMA(hb.L2(1.0), d_max=2.0), "d_max"),
        (lambda: MMA(hb.L2(0.0)), "d_max is 0"),
        (lambda: MMA(hb.L2(1.0), eps_min=0.0), "eps_min"),
        (lambda: MMA(hb.L2(1.0), eps_max=0.5), "eps_max"),
        (lambda: MMA(hb.L2(1.0), clean=2.0), "clean"),
        (lambda: MMA(hb.L2(1.0), objective="mean"), "objective"),
        (lambda: MMA(hb.L2(1.0), steps=0), "steps"),
        (lambda: MMA(hb.L2(1.0), bisections=-1), "bisections"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(make, says):
    with pytest.raises(hb.InputError, match=says):
        make()


def test_a_ball_and_a_metric_with_d_max_are_the_same():
    assert MMA(hb.Linf(0.45)).threats == MMA(Metric(inf), d_max=0.45).threats == (hb.Linf(0.45),)
    assert MMA(hb.L2(2.0)).describe()["threat"] == "l2:2"
    assert OMMA(hb.L2(2.0)).describe()["strategy"] == "OMMA"


@pytest.mark.parametrize("strategy", [OMMA, MMA])
@pytest.mark.parametrize("wrong", [0, 1])
def test_margins_of_one_example_pass_normalisation(strategy, wrong):
    model = normalised()
    x, _ = blobs(6)
    y = model.eval()(x).argmax(1)
    y[:wrong] = (y[:wrong] + 1) % 3
    model.train()
    batch = Batch(
        model=model, victim=Victim(model), x=x, y=y, ids=torch.arange(6), step=0, epoch=0,
        progress=0.0, seed=0, box=hb.threats.Box(),
    )  # fmt: skip
    # Either the one wrong example, or the point of the least margin, would be alone.
    made = strategy(hb.L2(1e-6 if wrong else 50.0), objective="minimum", steps=5)
    loss = made.loss(batch, made.begin(6, torch.device("cpu")))
    assert loss.value.isfinite()
    assert loss.forwards >= 2
    loss.value.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_row_shown_beside_a_lone_one_counts_for_nothing():
    model = net()
    x, _ = blobs(5)
    y = model(x).argmax(1)
    y[4] = (y[4] + 1) % 3
    batch = Batch(
        model=model, victim=Victim(model), x=x, y=y, ids=torch.arange(5), step=0, epoch=0,
        progress=0.0, seed=0, box=hb.threats.Box(),
    )  # fmt: skip
    made = OMMA(hb.L2(1e-6), steps=3, boundary="decision")  # SLM-margins of 0 would count
    loss = made.loss(batch, made.begin(5, torch.device("cpu")))
    torch.testing.assert_close(loss.value, F.cross_entropy(model(x[4:]), y[4:]) / 5)


@pytest.mark.parametrize(("given", "first"), [({}, 0.5), ({"eps_init": 0.3}, 0.3)])
def test_margins_of_the_first_epoch_are_a_quarter_of_the_hinge_or_given(given, first):
    table = MMA(hb.L2(2.0), **given).begin(2, CPU)["eps"]
    torch.testing.assert_close(table, torch.tensor([first, first]))
