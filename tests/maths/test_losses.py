"""Losses, their slopes and their targeted forms."""

import decimal
from decimal import Decimal
from functools import partial
from math import exp, inf, log, nan

import pytest
import torch
from torch.nn import functional as F

from hauberk.maths.losses import LOSSES, SLOPES, TARGETED, TARGETED_SLOPES, cw, wrong

EVERY = [*LOSSES.items(), *((f"targeted {name}", loss) for name, loss in TARGETED.items())]


def some(classes=5, rows=40, scale=3.0, dtype=torch.float32):
    rng = torch.Generator().manual_seed(classes)
    z = torch.randn(rows, classes, generator=rng, dtype=torch.float64) * scale
    y = torch.randint(classes, (rows,), generator=rng)
    t = (y + torch.randint(1, classes, (rows,), generator=rng)) % classes
    return z.to(dtype), y, t


def given(name, y, t):
    return (y, t) if name.startswith("targeted") else (y,)


def in_units_of_spread(row):
    mean = sum(row) / len(row)
    unit = 0.3 * sum(abs(v - mean) for v in row) / len(row)
    return [v / unit for v in row]


def own_entropy(row, own):
    scaled = torch.tensor(in_units_of_spread(row), dtype=torch.float64)
    return (scaled.logsumexp(0) - scaled[own]).item()


def scaled_two_artanh(row, own, j):
    """By numbers of 60 digits, where the label's probability is 1 in Python floats."""
    with decimal.localcontext(prec=60):
        e = [Decimal(v).exp() for v in in_units_of_spread(row)]
        lead = (e[j] - e[own]) / sum(e)
        return float(((1 + lead) / (1 - lead)).ln())


def two_artanh(p, q):
    return log((1 + p - q) / (1 - p + q))


def reference(name, z, y, t):
    """One row at a time, in Python floats."""
    out = []
    for row, own, aim in zip(z.double().tolist(), y.tolist(), t.tolist(), strict=True):
        others = [v for j, v in enumerate(row) if j != own]
        top = sorted(row, reverse=True)
        lse = torch.tensor(row, dtype=torch.float64).logsumexp(0).item()
        lse_others = torch.tensor(others, dtype=torch.float64).logsumexp(0).item()
        margin = max(others) - row[own]
        ahead = row[aim] - row[own]
        low = top[2:4] or [0.0]
        out.append(
            {
                "ce": lse - row[own],
                "margin": margin,
                "soft_margin": lse_others - row[own],
                "cw": min(margin, 50.0),
                "dlr": margin if len(row) < 3 else margin / (top[0] - top[2]),
                "probability_margin": two_artanh(exp(max(others) - lse), exp(row[own] - lse)),
                "targeted probability_margin": two_artanh(exp(row[aim] - lse), exp(row[own] - lse)),
                "probability_margin_scaled": margin
                if len(row) < 3
                else scaled_two_artanh(row, own, row.index(max(others))),
                "targeted probability_margin_scaled": ahead
                if len(row) < 3
                else scaled_two_artanh(row, own, aim),
                "ce_scaled": own_entropy(row, own) if len(row) > 2 else margin,
                "targeted ce_scaled": -own_entropy(row, aim) if len(row) > 2 else ahead,
                "targeted ce": row[aim] - lse,
                "targeted margin": ahead,
                "targeted dlr": ahead if len(row) < 3 else ahead / (top[0] - sum(low) / len(low)),
            }[name]
        )
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize(("name", "loss"), EVERY)
def test_values(name, loss, classes):
    z, y, t = some(classes)
    torch.testing.assert_close(
        loss(z, *given(name, y, t)).double(), reference(name, z, y, t), rtol=1e-5, atol=1e-5
    )
    z, y, t = some(classes, dtype=torch.float64)
    found = loss(z, *given(name, y, t))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, reference(name, z, y, t), rtol=1e-9, atol=1e-9)


def test_cw_stops_at_the_confidence():
    z = torch.tensor([[0.0, 80.0], [0.0, 30.0]])
    y = torch.zeros(2, dtype=torch.int64)
    assert cw(z, y).tolist() == [50.0, 30.0]
    assert cw(z, y, confidence=10).tolist() == [10.0, 10.0]


def test_identities():
    z, y, _ = some(7, dtype=torch.float64)
    z.requires_grad_()
    ce, slm, lm = (LOSSES[name](z, y) for name in ("ce", "soft_margin", "margin"))
    torch.testing.assert_close(ce, F.softplus(slm))
    assert (slm - log(6) <= lm + 1e-12).all()
    assert (lm <= slm + 1e-12).all()
    (of_ce,) = torch.autograd.grad(ce.sum(), z, retain_graph=True)
    (of_slm,) = torch.autograd.grad(slm.sum(), z)
    r = 1 - z.softmax(1).gather(1, y.unsqueeze(1))
    torch.testing.assert_close(of_ce, r * of_slm)


def test_two_classes_have_one_margin():
    z, y, t = some(2, dtype=torch.float64)
    margin = LOSSES["margin"](z, y)
    for name in ("soft_margin", "dlr", "probability_margin", "probability_margin_scaled",
                 "ce_scaled"):  # fmt: skip
        torch.testing.assert_close(LOSSES[name](z, y), margin)
    for name in ("margin", "dlr", "probability_margin", "probability_margin_scaled",
                 "ce_scaled"):  # fmt: skip
        torch.testing.assert_close(TARGETED[name](z, y, t), margin)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("targeted", [False, True])
def test_slopes_in_closed_form(classes, targeted):
    z, y, t = some(classes, dtype=torch.float64)
    slopes, losses = (TARGETED_SLOPES, TARGETED) if targeted else (SLOPES, LOSSES)
    labels = (y, t) if targeted else (y,)
    for name, slope in slopes.items():
        leaf = z.clone().requires_grad_()
        loss = losses[name](leaf, *labels)
        (grad,) = torch.autograd.grad(loss.sum(), leaf)
        found_loss, found = slope(z, *labels)
        torch.testing.assert_close(found_loss, loss.detach())
        torch.testing.assert_close(found, grad)


def test_a_saturated_cross_entropy_still_has_a_slope():
    """In float32 the softmax's own 1 - p is 0 from a margin of 17 on."""
    for gap in (10.0, 18.0, 40.0, 80.0):
        z = torch.tensor([[gap, 0.0, -1.0], [0.0, gap, gap - 1]])
        y = torch.tensor([0, 0])
        loss, slope = SLOPES["ce"](z, y)
        exact_loss, exact = SLOPES["ce"](z.double(), y)
        torch.testing.assert_close(loss.double(), exact_loss, rtol=1e-5, atol=0)
        torch.testing.assert_close(slope.double(), exact, rtol=1e-5, atol=0)
        assert (loss > 0).all()


def climb(z, y, j):
    """The gradient of ``p_j - p_y`` in the logits, by numbers of 120 digits; of length one."""
    with decimal.localcontext(prec=120):
        e = [Decimal(v).exp() for v in z]
        p = [v / sum(e) for v in e]
        grad = [p[j] * ((k == j) - p[k]) - p[y] * ((k == y) - p[k]) for k in range(len(z))]
        size = sum(v * v for v in grad).sqrt()
        return [float(v / size) for v in grad]


@pytest.mark.parametrize("gap", [0.5, 10.0, 18.0, 40.0, 90.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_saturated_probability_margin_has_the_direction_of_the_probabilities(gap, sign):
    """In float32 ``p_j - p_y`` itself is -1 from a gap of 17 on, and its gradient 0."""
    z = torch.tensor([[sign * gap, 0.0, -0.5, -1.25]])
    y = torch.tensor([0])
    for j, (loss, slope) in (
        (1, SLOPES["probability_margin"](z, y)),
        (2, TARGETED_SLOPES["probability_margin"](z, y, torch.tensor([2]))),
    ):
        exact = torch.tensor([climb(z[0].tolist(), 0, j)], dtype=torch.float64)
        found = F.normalize(slope.double(), dim=1)
        torch.testing.assert_close(found, exact, rtol=0, atol=2e-6)
        higher = LOSSES["probability_margin"](z + 0.01 * torch.eye(4)[[1]], y)
        assert (loss >= 0) == (sign < 0)
        assert higher > LOSSES["probability_margin"](z, y)


def test_the_probability_margin_weighs_the_other_classes():
    """At a sure label: two parts in the runner-up, one in each other, by their shares."""
    z = torch.tensor([[60.0, log(0.5), log(0.3), log(0.2)]])
    _, slope = SLOPES["probability_margin"](z, torch.tensor([0]))
    torch.testing.assert_close(slope, torch.tensor([[-1.5, 1.0, 0.3, 0.2]]) / 1.5)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize(("name", "loss"), [row for row in EVERY if "scaled" not in row[0]])
def test_gradients(name, loss, classes):
    z, y, t = some(classes, rows=8, dtype=torch.float64)
    assert torch.autograd.gradcheck(partial(on_labels, loss, given(name, y, t)), z.requires_grad_())


def test_the_scaled_cross_entropy_is_not_differentiated_through_its_scale():
    z, y, t = some(6, dtype=torch.float64)
    unit = 0.3 * (z - z.mean(1, keepdim=True)).abs().mean(1, keepdim=True)
    for loss, labels, sign in ((LOSSES, (y,), 1), (TARGETED, (y, t), -1)):
        leaf = z.clone().requires_grad_()
        (grad,) = torch.autograd.grad(loss["ce_scaled"](leaf, *labels).sum(), leaf)
        hot = F.one_hot(labels[-1], 6)
        torch.testing.assert_close(grad, sign * ((z / unit).softmax(1) - hot) / unit)


def test_the_scaled_probability_margin_is_not_differentiated_through_its_scale():
    z, y, t = some(6, dtype=torch.float64)
    unit = 0.3 * (z - z.mean(1, keepdim=True)).abs().mean(1, keepdim=True)
    for losses, labels in ((LOSSES, (y,)), (TARGETED, (y, t))):
        found, plain = (
            torch.autograd.grad(losses[f"probability_margin{end}"](leaf, *labels).sum(), leaf)[0]
            for end, leaf in (
                ("_scaled", z.clone().requires_grad_()), ("", (z / unit).requires_grad_())
            )
        )  # fmt: skip
        torch.testing.assert_close(found, plain / unit)


@pytest.mark.parametrize("name", ["ce_scaled", "probability_margin_scaled"])
@pytest.mark.parametrize("factor", [1e-12, 0.05, 30.0, 1e12])
def test_no_factor_on_the_logits_changes_where_a_scaled_loss_rises(factor, name):
    z, y, t = some(10)
    for slopes, labels in ((SLOPES, (y,)), (TARGETED_SLOPES, (y, t))):
        (loss, slope), (same, steeper) = (
            slopes[name](logits, *labels) for logits in (z, factor * z + 2 * factor)
        )
        torch.testing.assert_close(same, loss, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(steeper * factor, slope, rtol=1e-4, atol=1e-6)


def on_labels(loss, labels, z):
    return loss(z, *labels)


def test_dlr_does_not_change_with_scale_or_shift():
    for classes in (3, 4, 10):
        z, y, t = some(classes, dtype=torch.float64)
        for loss in (partial(LOSSES["dlr"], y=y), partial(TARGETED["dlr"], y=y, target=t)):
            torch.testing.assert_close(loss(z * 1000 + 5), loss(z), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize(("name", "loss"), EVERY)
def test_ties(name, loss, classes):
    z = torch.full((4, classes), 2.5, requires_grad=True)
    y = torch.arange(4) % classes
    t = (y + 1) % classes
    found = loss(z, *given(name, y, t))
    (grad,) = torch.autograd.grad(found.sum(), z)
    assert found.isfinite().all()
    assert not grad.isnan().any()
    if "margin" in name and "soft" not in name:
        assert (found == 0).all()
    if name.endswith("ce") or ("ce" in name and classes > 2):
        torch.testing.assert_close(found.abs(), torch.full((4,), log(classes)))


@pytest.mark.parametrize("size", [1e4, 1e30, inf])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "loss"), EVERY)
def test_saturated_logits(name, loss, dtype, size):
    rows = [[size, 0, -size, 0], [0, size, size, 0], [-size, 0, size, 0], [-size, -size, 0, 0]]
    z = torch.tensor(rows, dtype=dtype, requires_grad=True)
    y = torch.tensor([0, 1, 0, 0])
    found = loss(z, *given(name, y, torch.tensor([3, 2, 2, 1])))
    (grad,) = torch.autograd.grad(found.sum(), z)
    assert found.isfinite().all()
    assert grad.isfinite().all()
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    if name in ("margin", "dlr"):
        assert (found >= 0).tolist() == [False, True, True, True]
        assert found[1] == 0
    if name == "targeted margin":
        assert (found[1], found[3]) == (0, 0)


@pytest.mark.parametrize(("name", "loss"), EVERY)
def test_nan_stays_nan_and_to_its_row(name, loss):
    z, y, t = some(4, rows=3)
    clean = loss(z, *given(name, y, t))
    spoilt = z.clone()
    spoilt[1, 2] = nan
    y, t = y.clone(), t.clone()
    y[1], t[1] = 2, 0
    found = loss(spoilt, *given(name, y, t))
    assert found[1].isnan()
    assert torch.equal(found[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("name", list(LOSSES))
def test_nan_in_another_class_is_nan(name):
    z = torch.tensor([[1.0, nan, 0.0]])
    assert LOSSES[name](z, torch.tensor([0])).isnan().all()


@pytest.mark.parametrize(("name", "loss"), EVERY)
def test_bfloat16_logits_are_worked_on_in_float32(name, loss):
    z, y, t = some(6, dtype=torch.bfloat16)
    found = loss(z, *given(name, y, t))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(z.float(), *given(name, y, t)))


@pytest.mark.parametrize(("name", "loss"), EVERY)
def test_no_rows(name, loss):
    none = torch.empty(0, dtype=torch.int64)
    assert loss(torch.empty(0, 4), *given(name, none, none)).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_wrong(dtype):
    table = [
        ([2, 1, 0], 0, False),
        ([2, 1, 0], 1, True),
        ([1, 1, 0], 0, True),  # a tie
        ([0, 0, 0], 2, True),
        ([nan, 1, 0], 0, True),
        ([5, nan, 0], 0, True),
        ([nan, nan, nan], 0, True),
        ([inf, 0, 0], 0, False),
        ([inf, inf, 0], 0, True),
        ([-inf, -inf, 0], 2, False),
        ([-inf, -inf, -inf], 2, True),
        ([0, -inf, -inf], 0, False),
    ]
    z = torch.tensor([row for row, *_ in table], dtype=dtype)
    y = torch.tensor([label for _, label, _ in table])
    assert wrong(z, y).tolist() == [expected for *_, expected in table]


def test_margin_and_wrong_agree_to_the_last_bit():
    y = torch.zeros(3, dtype=torch.int64)
    one = torch.ones(3)
    near = torch.stack([one.nextafter(one * 2), one, one.nextafter(one * 0)], dim=1).diag()
    z = torch.stack([near, one], dim=1)
    assert (LOSSES["margin"](z, y) >= 0).tolist() == wrong(z, y).tolist() == [False, True, True]
