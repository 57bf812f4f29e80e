"""AN-PGD as printed (Ding et al. 2020, Algorithm 1), beside numpy and scipy, with many classes.

With two classes the soft logit margin is the logit margin; everything here has four.
"""

from math import inf

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax
from torch import nn

import hauberk as hb
from hauberk.solvers.anpgd import ANPGD
from hauberk.train import MMA
from hauberk.train.loop.validation import FARTHEST, ValidationSet
from hauberk.train.strategies.base import Batch
from hauberk.victims.victim import Victim

BOX = (-50.0, 50.0)
FEATURES, HIDDEN, CLASSES = 6, 12, 4
CASES = [("linear", p) for p in (1, 2, inf)] + [("tanh", p) for p in (2, inf)]


class Reference:
    """A small classifier in numpy: logits and gradients by hand, and the same as a torch module."""

    def __init__(self, kind, seed=3):
        rng = np.random.default_rng(seed)
        inner = FEATURES if kind == "linear" else HIDDEN
        self.hidden = None if kind == "linear" else rng.normal(size=(HIDDEN, FEATURES)) * 0.7
        self.weight = rng.normal(size=(CLASSES, inner)) * (0.6 if kind == "linear" else 1.2)
        layers = [nn.Linear(inner, CLASSES, bias=False)]
        layers[0].weight = nn.Parameter(torch.from_numpy(self.weight))
        if self.hidden is not None:
            layers = [nn.Linear(FEATURES, HIDDEN, bias=False), nn.Tanh(), *layers]
            layers[0].weight = nn.Parameter(torch.from_numpy(self.hidden))
        self.module = nn.Sequential(*layers)

    def logits(self, x):
        inner = x if self.hidden is None else np.tanh(self.hidden @ x)
        return self.weight @ inner

    def back(self, x, slope):
        """Gradient in the input of logits weighted by ``slope``."""
        if self.hidden is None:
            return self.weight.T @ slope
        inner = np.tanh(self.hidden @ x)
        return self.hidden.T @ ((self.weight.T @ slope) * (1 - inner**2))

    def soft(self, x, y):
        z = self.logits(x)
        return logsumexp(np.delete(z, y)) - z[y]

    def hard(self, x, y):
        z = self.logits(x)
        return np.delete(z, y).max() - z[y]

    def soft_gradient(self, x, y):
        z = self.logits(x)
        slope = np.insert(softmax(np.delete(z, y)), y, -1.0)
        return self.back(x, slope)


def project(delta, p, eps):
    if p == inf:
        return delta.clip(-eps, eps)
    if p == 2:
        return delta * min(1, eps / max(np.linalg.norm(delta), 1e-300))
    if np.abs(delta).sum() <= eps:
        return delta
    top = brentq(lambda t: (np.abs(delta) - t).clip(0).sum() - eps, 0, np.abs(delta).max())
    return np.sign(delta) * (np.abs(delta) - top).clip(0)


def steepest(grad, p):
    if p == inf:
        return np.sign(grad)
    if p == 2:
        return grad / np.linalg.norm(grad)
    one = np.zeros_like(grad)
    one[np.abs(grad).argmax()] = np.sign(grad[np.abs(grad).argmax()])
    return one


def size(delta, p):
    return np.linalg.norm(delta, {1: 1, 2: 2, inf: np.inf}[p])


def printed(model, x, y, p, eps, eps_max, steps):
    """Algorithm 1 from the clean input: the zero of the soft margin along PGD's last point."""
    delta = np.zeros_like(x)
    for _ in range(steps):
        climbed = delta + 2.5 * eps / steps * steepest(model.soft_gradient(x + delta, y), p)
        delta = project(climbed, p, eps)
    length = size(delta, p)
    way = delta / length

    def along(eta):
        return model.soft(x + eta * way, y)

    low, high = (0.0, length) if along(length) >= 0 else (length, eps_max)
    if along(low) >= 0:
        return low, way
    if along(high) < 0:
        return inf, way
    return brentq(along, low, high, xtol=1e-14, rtol=1e-14), way


def examples(model, n=24, seed=5):
    """Inputs that the model gets right, some with more than half of the probability, some not."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, size=(n, FEATURES))
    y = np.array([model.logits(row).argmax() for row in x])
    soft = np.array([model.soft(row, label) for row, label in zip(x, y, strict=True)])
    assert (soft < 0).sum() >= 8
    assert (soft >= 0).sum() >= 1
    return x, y, soft


@pytest.mark.parametrize(("kind", "p"), CASES)
@pytest.mark.parametrize("eps", [0.1, 3.0])
def test_margins_are_those_of_algorithm_1_in_numpy_and_scipy(kind, p, eps):
    model = Reference(kind)
    x, y, soft = examples(model)
    steps, most = 7, 12.0
    solver = ANPGD(
        steps=steps, bisections=45, eps=eps, eps_max=most, random_start=False, share=1e-9,
        boundary="soft_margin", nearer=False,
    )  # fmt: skip
    found = solver(
        model.module, torch.from_numpy(x), torch.from_numpy(y), f"l{p:g}", box=BOX, batch_size=7
    )
    apart = 0
    for i in np.flatnonzero(soft < 0):
        length, way = printed(model, x[i], y[i], p, eps, most, steps)
        assert bool(found.fooled[i]) == (length < inf)
        if length == inf:
            continue
        assert float(found.distance[i]) == pytest.approx(length, rel=1e-7)
        np.testing.assert_allclose(found.points[i].numpy(), x[i] + length * way, atol=1e-6)
        assert model.soft(found.points[i].numpy(), y[i]) == pytest.approx(0, abs=1e-6)
        apart += model.hard(found.points[i].numpy(), y[i]) < -0.05
    assert apart >= 4, "of these the decision has not changed yet: two classes would not show it"


@pytest.mark.parametrize("bisections", [0, 1, 3, 10])
def test_the_end_that_counts_is_the_outer_one_after_so_many_halvings(bisections):
    model = Reference("linear")
    x, y, soft = examples(model)
    i = int(np.flatnonzero(soft < 0)[0])
    eps = 6.0
    solver = ANPGD(
        steps=5, bisections=bisections, eps=eps, random_start=False, boundary="soft_margin",
        nearer=False,
    )  # fmt: skip
    found = solver(
        model.module, torch.from_numpy(x[i : i + 1]), torch.from_numpy(y[i : i + 1]), "l2", box=BOX
    )
    length, _ = printed(model, x[i], y[i], 2, eps, 12.0, 5)
    grid = eps / 2**bisections
    assert float(found.distance) == pytest.approx(np.ceil(length / grid) * grid, rel=1e-9)


def test_by_default_the_decision_is_bisected_and_every_point_fools():
    model = Reference("tanh")
    x, y, _ = examples(model)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    options = {"steps": 10, "bisections": 40, "eps": 1.0, "random_start": False}
    hard = ANPGD(**options)(model.module, images, labels, "l2", box=BOX)
    soft = ANPGD(**options, boundary="soft_margin")(model.module, images, labels, "l2", box=BOX)
    both = hard.fooled & soft.fooled
    assert int(both.sum()) >= 12
    assert bool((soft.distance <= hard.distance)[both].all())
    for row, label in zip(hard.points[both].numpy(), labels[both].tolist(), strict=True):
        assert model.hard(row, label) >= 0
    still = [model.hard(r, k) < 0 for r, k in zip(soft.points[both].numpy(), y[both], strict=True)]
    assert sum(still) >= 8


def test_a_nearer_point_of_pgd_counts_only_where_it_is_asked_for():
    model = Reference("tanh", seed=8)
    x, y, _ = examples(model, n=60)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    options = {"steps": 20, "bisections": 0, "eps": 5.0, "boundary": "soft_margin"}
    one = ANPGD(**options)(model.module, images, labels, "l2", box=BOX)
    two = ANPGD(**options, nearer=False)(model.module, images, labels, "l2", box=BOX)
    assert bool((one.distance[two.fooled] <= two.distance[two.fooled]).all())
    assert int((one.distance < two.distance - 0.1)[two.fooled].sum()) >= 10
    # Along the last direction, without halvings: PGD's last point itself.
    torch.testing.assert_close(two.distance[two.fooled], two.distance[two.fooled] * 0 + 5)


def test_the_boundary_is_left_as_it_was():
    model = Reference("linear")
    x, y, _ = examples(model)
    victim = Victim(model.module)
    solver = ANPGD(steps=2, eps=1.0, boundary="soft_margin")
    solver(victim, torch.from_numpy(x), torch.from_numpy(y), "l2", box=BOX)
    assert victim.boundary == "decision"
    with pytest.raises(hb.InputError, match="boundary"):
        ANPGD(boundary="ce")


# Max-margin training and selection


@pytest.mark.parametrize(("kind", "p"), CASES)
def test_margins_of_the_training_are_those_of_algorithm_1(kind, p):
    model = Reference(kind)
    x, y, soft = examples(model)
    eps, d_max, steps = 0.4, 3.0, 8
    strategy = MMA(
        hb.threats.Metric(p), d_max=d_max, steps=steps, bisections=45, eps_init=eps,
        random_start=False, share=1e-9, eps_min=1e-6,
    )  # fmt: skip
    batch = Batch(
        model=model.module, victim=Victim(model.module), x=torch.from_numpy(x),
        y=torch.from_numpy(y), ids=torch.arange(len(x)), step=0, epoch=0, progress=0.0, seed=0,
        box=hb.threats.Box(*BOX),
    )  # fmt: skip
    tables = strategy.begin(len(x), torch.device("cpu"))
    loss = strategy.loss(batch, tables)
    total, near = 0.0, 0
    for i in range(len(x)):
        z = model.logits(x[i])
        total += (logsumexp(z) - z[y[i]]) / 3
        length, way = printed(model, x[i], y[i], p, eps, 1.05 * d_max, steps)
        want = max(min(length, 1.05 * d_max), 1e-6)
        if soft[i] < 0:
            assert float(tables["eps"][i]) == pytest.approx(want, rel=1e-5)
        else:
            # Where half of the probability is gone already, ever smaller lengths succeed.
            assert float(tables["eps"][i]) == pytest.approx(1e-6)
        if length < d_max:
            near += 1
            z = model.logits(x[i] + length * way)
            total += (logsumexp(z) - z[y[i]]) * 2 / 3
    assert near >= 8
    assert loss.value.item() == pytest.approx(total / len(x), rel=1e-5)


def test_margins_to_select_by_are_those_of_algorithm_1():
    model = Reference("linear")
    x, y, soft = examples(model)
    y = y.copy()
    y[0] = (y[0] + 1) % CLASSES
    held = ValidationSet(
        Victim(model.module), torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(x)),
        [hb.L2(1.5)], 400, hb.threats.Box(*BOX),
    )  # fmt: skip
    found = held.margins() * 1.5
    assert float(found[0]) == 0
    solver = ANPGD(steps=400, eps=1.5, eps_max=1.5 * 1.05, boundary="soft_margin", nearer=False)
    right = torch.arange(1, len(x))
    want = solver(
        model.module, held.x[right], held.y[right], "l2", box=BOX, ids=right, seed=0
    )  # fmt: skip
    want = torch.where(want.fooled, want.distance, 1.5 * FARTHEST)
    torch.testing.assert_close(found[right], want)
    # No point that fools is so near: the distance to the nearest plane between two classes.
    z, rows = x @ model.weight.T, model.weight
    decision = [
        min(
            (z[i, k] - z[i, c]) / np.linalg.norm(rows[k] - rows[c])
            for c in range(CLASSES)
            if c != k
        )
        for i, k in enumerate(y)
    ]
    least = np.minimum(decision, 1.5 * FARTHEST)
    assert (soft[1:] >= 0).any()
    assert (found.numpy()[1:] < 0.9 * least[1:]).sum() >= 6


def test_training_searches_as_printed():
    found = MMA(hb.L2(2.0), steps=40, eps_init=0.5).search
    assert found == ANPGD(
        loss="soft_margin", steps=40, bisections=10, eps=2.0, eps_max=2.1, random_start=True,
        share=0.01, boundary="soft_margin", nearer=False,
    )  # fmt: skip
    assert MMA(hb.L2(2.0), boundary="decision").search.boundary == "decision"


def test_without_a_radius_it_is_that_of_the_linearised_soft_margin():
    """Cross-entropy has the same direction, and another distance to its own zero."""
    model = Reference("linear")
    x, y, soft = examples(model)
    solver = ANPGD(
        steps=4, bisections=0, eps_max=99.0, boundary="soft_margin", nearer=False
    )  # fmt: skip
    found = solver(model.module, torch.from_numpy(x), torch.from_numpy(y), "l2", box=BOX)
    for i in np.flatnonzero(soft < 0):
        radius = -1.5 * soft[i] / np.linalg.norm(model.soft_gradient(x[i], y[i]))
        length, _ = printed(model, x[i], y[i], 2, radius, 99.0, 4)
        if found.fooled[i] and length < radius * 0.999:
            assert float(found.distance[i]) == pytest.approx(radius, rel=1e-6)
    assert int(found.fooled.sum()) >= 8
