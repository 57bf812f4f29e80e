"""Exact radii against closed forms, dense grids, all activation patterns and a MILP of its own."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, linprog, milp, minimize
from torch import nn

from hauberk.attacks import APGD
from hauberk.errors import InputError
from hauberk.exact import solve as exact
from hauberk.exact.net import take_apart
from hauberk.models.kwsmall import KWSmall
from hauberk.models.mlp import MLP
from hauberk.threats.ball import L1, L2, Linf

METRICS = ("linf", "l1", "l2")
NORM = {"linf": np.inf, "l1": 1, "l2": 2}


def mlp(*sizes, seed=0, width=1.0):
    torch.manual_seed(seed)
    model = MLP(sizes).double()
    for layer in model.layers:
        nn.init.normal_(layer.weight, std=width * layer.in_features**-0.5)
        nn.init.normal_(layer.bias, std=0.3)
    return model


def inputs(model, count, features, seed=1):
    x = torch.rand(
        count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return x, model(x).argmax(1)


def holds(result, model, x, y, metric, lo=0.0, hi=1.0):
    """The points lie in the box, fool the model and are as far away as the result says."""
    assert result.proven.all()
    there = result.distance.isfinite()
    assert (result.lower[~there] == torch.inf).all()
    length = result.distance[there]
    assert (length - result.lower[there] <= 1e-9 * length.clamp(min=1.0)).all()
    points = result.points[there]
    assert ((points >= lo) & (points <= hi)).all()
    length = torch.linalg.vector_norm((points - x[there]).flatten(1), NORM[metric], 1)
    assert torch.allclose(length, result.distance[there], 1e-14, 1e-14)
    z = model(points)
    own = z.gather(1, y[there, None])
    others = z.scatter(1, y[there, None], -torch.inf)
    assert (others.max(1).values >= own[:, 0]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_linear_model_in_the_open(metric):
    model = mlp(6, 4)
    x, y = inputs(model, 5, 6)
    result = exact.radius(model, x, y, metric, box=(-1e3, 1e3))
    holds(result, model, x, y, metric, -1e3, 1e3)
    weight, z = model.layers[0].weight.detach(), model(x).detach()
    dual = {"linf": 1, "l1": np.inf, "l2": 2}[metric]
    slope = torch.linalg.vector_norm(weight[None] - weight[y][:, None], dual, 2)
    truth = ((z.gather(1, y[:, None]) - z) / slope).nan_to_num(nan=np.inf)
    truth = truth.scatter(1, y[:, None], np.inf).min(1).values
    assert torch.allclose(result.distance, truth, 1e-9, 1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_linear_model_that_the_box_hinders(metric):
    # Margin 0.8 at (0.9, 0.5), slopes (1, 2): the first feature can give 0.1, the rest is 0.7.
    model = nn.Sequential(nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
        model[0].bias.copy_(torch.tensor([2.7, 0.0], dtype=torch.float64))
    x, y = torch.tensor([[0.9, 0.5]], dtype=torch.float64), torch.tensor([0])
    result = exact.radius(model, x, y, metric)
    holds(result, model, x, y, metric)
    # l2 without the box: (0.16, 0.32), which leaves it; with it (0.1, 0.35).
    want = {"linf": 0.35, "l1": 0.4, "l2": (0.1**2 + 0.35**2) ** 0.5}[metric]
    assert result.distance.item() == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_two_features_against_a_grid(metric):
    model = mlp(2, 5, 4, 3, seed=3, width=2.5)
    x, y = inputs(model, 4, 2)
    result = exact.radius(model, x, y, metric)
    holds(result, model, x, y, metric)
    ticks = torch.linspace(0, 1, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks)
    with torch.no_grad():
        z = model(grid)
    for row, label, radius in zip(x, y, result.distance, strict=True):
        fooled = z.clone().index_fill_(1, label, -torch.inf).max(1).values >= z[:, label]
        length = torch.linalg.vector_norm(grid - row, NORM[metric], 1)
        nearest = length[fooled].min() if fooled.any() else torch.inf
        assert nearest >= radius - 1e-9
        # Thin slivers between the ticks apart, the grid has a fooling point that near.
        assert nearest <= radius + 0.02


def by_patterns(model, x, label, metric):
    """Least distance over all activation patterns, one programme a pattern and class."""
    first, last = ((v.weight.detach().numpy(), v.bias.detach().numpy()) for v in model.layers)
    n, best = len(x), np.inf
    for target, on in product(range(len(last[1])), product((0, 1), repeat=len(first[1]))):
        if target == label:
            continue
        on = np.array(on)
        sign = 2 * on - 1
        row = last[0][target] - last[0][label]
        # rows @ x' >= need
        rows = np.concatenate((sign[:, None] * first[0], ((row * on) @ first[0])[None]))
        need = np.r_[-sign * first[1], last[1][label] - last[1][target] - row * on @ first[1]]
        one = np.eye(n)
        if metric == "l2":
            feasible = linprog(np.zeros(n), -rows, -need, bounds=(0, 1))
            if feasible.x is None:
                continue
            found = minimize(
                lambda v: ((v - x) ** 2).sum(), feasible.x, jac=lambda v: 2 * (v - x),
                bounds=[(0, 1)] * n, method="SLSQP", options={"ftol": 1e-15, "maxiter": 500},
                constraints={"type": "ineq", "fun": lambda v, r=rows, e=need: r @ v - e,
                             "jac": lambda v, r=rows: r},
            )  # fmt: skip
            if (rows @ found.x - need).min() > -1e-9:
                best = min(best, found.fun**0.5)
            continue
        k = 1 if metric == "linf" else n
        spread = np.ones((n, 1)) if metric == "linf" else one
        matrix = np.block([[-rows, np.zeros((len(rows), k))], [one, -spread], [-one, -spread]])
        found = linprog(
            np.r_[np.zeros(n), np.ones(k)], matrix, np.r_[-need, x, -x],
            bounds=[(0, 1)] * n + [(0, None)] * k,
        )  # fmt: skip
        best = min(best, found.fun if found.x is not None else np.inf)
    return best


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", [0, 1])
def test_against_all_activation_patterns(metric, seed):
    model = mlp(4, 5, 3, seed=seed, width=2.0)
    x, y = inputs(model, 2, 4, seed)
    result = exact.radius(model, x, y, metric)
    holds(result, model, x, y, metric)
    truth = [by_patterns(model, row.numpy(), int(k), metric) for row, k in zip(x, y, strict=True)]
    assert result.distance.tolist() == pytest.approx(truth, abs=1e-6)


def by_milp(model, x, label):
    """Least linf distance as one big-M programme a class, over interval bounds of the whole box."""
    n, best = len(x), np.inf
    layers = [(v.weight.detach().numpy(), v.bias.detach().numpy()) for v in model.layers]
    units = sum(len(b) for _, b in layers[:-1])
    size = n + 1 + 2 * units  # x', r, then outputs and states
    for target in set(range(len(layers[-1][1]))) - {label}:
        rows, need, low, high = [], [], np.zeros(n), np.ones(n)
        flow, offset, at = np.eye(n, size), np.zeros(n), n + 1
        for weight, bias in layers[:-1]:
            middle, reach = weight @ (low + high) / 2 + bias, np.abs(weight) @ (high - low) / 2
            low, high = middle - reach, middle + reach
            a, c = weight @ flow, weight @ offset + bias
            h, s = np.eye(len(bias), size, at), np.eye(len(bias), size, at + units)
            below, above = np.minimum(low, 0)[:, None], np.maximum(high, 0)[:, None]
            rows += [h - a, a - h + below * s, above * s - h]
            need += [c, below[:, 0] - c, 0 * c]
            flow, offset, at = h, 0 * c, at + len(bias)
            low, high = np.maximum(low, 0), np.maximum(high, 0)
        row = layers[-1][0][target] - layers[-1][0][label]
        rows += [(row @ flow)[None]]
        need += [[layers[-1][1][label] - layers[-1][1][target]]]
        for sign in (1, -1):
            rows.append(np.eye(1, size, n) - sign * np.eye(n, size))
            need.append(-sign * x)
        found = milp(
            np.eye(1, size, n)[0],
            integrality=np.r_[np.zeros(n + 1 + units), np.ones(units)],
            bounds=Bounds(0, np.r_[np.ones(n + 1), np.full(units, np.inf), np.ones(units)]),
            constraints=LinearConstraint(np.concatenate(rows), np.concatenate(need), np.inf),
        )  # fmt: skip
        best = min(best, found.fun if found.x is not None else np.inf)
    return best


def test_deep_network_against_a_milp():
    model = mlp(6, 8, 7, 6, 3, seed=5, width=1.8)
    x, y = inputs(model, 3, 6)
    result = exact.radius(model, x, y)
    holds(result, model, x, y, "linf")
    truth = [by_milp(model, row.numpy(), int(k)) for row, k in zip(x, y, strict=True)]
    assert result.distance.tolist() == pytest.approx(truth, abs=1e-5)


@pytest.mark.parametrize(("metric", "ball"), [("linf", Linf), ("l1", L1), ("l2", L2)])
def test_no_attack_gets_below(metric, ball):
    model = mlp(10, 12, 3, width=2.0)
    x, y = inputs(model, 4, 10)
    result = exact.radius(model, x, y, metric)
    holds(result, model, x, y, metric)
    for row, label, lower in zip(x, y, result.lower, strict=True):
        threat = ball(float(lower) * (1 - 1e-9))
        out = APGD(steps=30, restarts=3)(model, row[None], label[None], threat)
        assert not out.fooled.any()


def small_cnn():
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(4)),
        nn.ReLU(), nn.Identity(), nn.AvgPool2d(2), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip
    for weight in (*model[6].parameters(), *model[8].parameters()):
        nn.init.normal_(weight, std=1.5)
    model[0][1].running_mean.uniform_(-0.3, 0.3)
    model[0][1].running_var.uniform_(0.1, 0.3)
    return model.eval()


def normalised():
    torch.manual_seed(0)
    model = KWSmall(2, 2, 3, 2, 0, 3, 4, 3, mean=(0.4, 0.5), std=(0.2, 0.3))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    return model.eval()


@pytest.mark.parametrize(
    "model",
    [small_cnn(), normalised()],
    ids=["conv", "normalised"],
)
def test_images(model):
    x = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = exact.radius(model.train(), x, y, "linf")
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    net, copy = take_apart(model, x)
    assert net.logits(x.double().flatten(1).numpy()) == pytest.approx(copy(x.double()).numpy())
    holds(result, copy, x.double(), y, "linf")
    assert result.distance.isfinite().any()
    assert result.points.shape == x.shape
    assert result.points.dtype == torch.float64


def test_wrong_already_and_ties():
    model = nn.Sequential(nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 1.0]))
    x = torch.tensor([[0.25], [0.5], [0.75]])
    result = exact.radius(model, x, torch.tensor([0, 0, 0]))
    assert result.distance.tolist() == pytest.approx([0, 0, 0.25], abs=1e-9)
    assert result.lower[:2].tolist() == [0, 0]
    assert torch.equal(result.points[:2], x[:2].double())
    assert result.proven.all()


def test_another_box_scales_the_radius():
    model = mlp(4, 6, 2, seed=4, width=2.0)
    x, y = inputs(model, 2, 4)
    plain = exact.radius(model, x, y, "l2")
    wide = mlp(4, 6, 2, seed=4, width=2.0)
    with torch.no_grad():
        wide.layers[0].bias += wide.layers[0].weight.sum(1) * (10 / 255)
        wide.layers[0].weight /= 255
    result = exact.radius(wide, x * 255 - 10, y, "l2", box=(torch.full((4,), -10.0), 245.0))
    assert torch.allclose(result.distance, plain.distance * 255, 1e-8, 1e-8)


def test_models_that_nothing_fools():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    nn.init.zeros_(model[2].weight)
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([1.0, 0.0]))
    x, y = torch.full((1, 3), 0.5), torch.tensor([0])
    for metric in METRICS:
        result = exact.radius(model, x, y, metric)
        assert result.distance.item() == result.lower.item() == np.inf
        assert result.proven.all()
        assert torch.equal(result.points, x.double())
    open_box = exact.radius(model, x, y, box=(-np.inf, np.inf))
    assert open_box.distance.item() == np.inf
    assert 1e3 < open_box.lower.item() < np.inf
    assert not open_box.proven.any()


def test_box_without_ends():
    model = mlp(3, 4, 2, seed=6)
    x, y = inputs(model, 2, 3)
    free = exact.radius(model, x, y, "l1", box=(-np.inf, np.inf))
    wide = exact.radius(model, x, y, "l1", box=(-500.0, 500.0))
    assert torch.allclose(free.distance, wide.distance)


def test_out_of_time_the_bounds_hold():
    model = mlp(8, 20, 3, seed=1, width=3.0)
    x, y = inputs(model, 2, 8)
    truth = exact.radius(model, x, y)
    short = exact.radius(model, x, y, time_limit=1e-9)
    assert not short.proven.any()
    assert (short.lower <= truth.distance).all()
    assert (short.distance >= truth.lower).all()


def test_known_points():
    model = mlp(4, 6, 3, seed=0, width=2.0)
    x, y = inputs(model, 2, 4)
    result = exact.radius(model, x, y)
    # Known at the optimum, of no use, and outside the box: the radius is the same.
    for known in (result.points, x, result.points + 5):
        again = exact.radius(model, x, y, upper=known)
        assert torch.allclose(again.distance, result.distance, 1e-9, 1e-9)
    kept = exact.radius(model, x, y, upper=result.points, time_limit=1e-9)
    assert (kept.distance <= result.distance).all()


def test_no_examples():
    result = exact.radius(mlp(4, 6, 3), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert len(result) == 0
    assert result.distance.dtype == torch.float64
    assert result.points.shape == (0, 4)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(x + torch.relu(self.layer(x)))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Linear(4, 5), nn.Sigmoid(), nn.Linear(5, 3)), "Sigmoid"),
        (Residual(), "nn.Sequential"),
        (nn.Sequential(nn.Linear(5, 3)), "chain"),
        (nn.Sequential(nn.Linear(4, 2000), nn.ReLU(), nn.Linear(2000, 3)), "1024 ReLU units"),
        (nn.Sequential(nn.Linear(4, 5000), nn.Linear(5000, 5000)), "too large"),
        (lambda x: x, "torch.nn.Module"),
    ],
)
def test_refused_models(model, said):
    with pytest.raises(InputError, match=said):
        exact.radius(model, torch.rand(2, 4), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "options",
    [{"metric": "l3"}, {"gap": 0.0}, {"time_limit": 0.0}, {"upper": torch.zeros(1, 4)}],
)
def test_refused_options(options):
    with pytest.raises(InputError):
        exact.radius(mlp(4, 3), torch.rand(2, 4), torch.tensor([0, 1]), **options)


def test_refused_labels():
    with pytest.raises(InputError, match="0 to 2"):
        exact.radius(mlp(4, 3), torch.rand(2, 4), torch.tensor([0, 3]))
