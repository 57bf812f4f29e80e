"""A new threat is one file: defined here, it is read, attacked, judged and named by suites."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.maths.steps import per_example, steepest_linf, step_along
from hauberk.spec.numbers import count_in, number_in
from hauberk.threats import Threat, threat
from hauberk.threats.box import Box
from hauberk.threats.notation import grammar
from hauberk.threats.region import InputRegion, as_floats, filled


class FirstFeatures(Threat):
    """Only the first features may change, each by ``eps``; ``first:3,0.2``."""

    kinds = "first"
    grammar = "first:COUNT,EPS for the first features"

    def __init__(self, count, eps):
        self.count, self.eps = count, eps

    @classmethod
    def read(cls, text, part):
        if not text.startswith("first:"):
            return None
        count, _, eps = text.removeprefix("first:").partition(",")
        return cls(count_in(count, text), number_in(eps, text))

    def at(self, x0, box=Box()):
        x0 = as_floats(x0)
        may = (torch.arange(x0[0].numel()) < self.count).view(x0.shape[1:])
        return FirstRegion(
            x0=x0, radius=filled(x0, self.eps), edges=box.bounds(x0), may=may.expand_as(x0)
        )

    def scaled(self, factor):
        return FirstFeatures(self.count, self.eps * factor)

    def __str__(self):
        return f"first:{self.count},{self.eps:g}"


@dataclass
class FirstRegion(InputRegion):
    may: torch.Tensor = field(repr=False)

    @cached_property
    def room(self):
        return torch.where(self.may, per_example(self.eps, self.x0), 0.0)

    def project_(self, u):
        return u.clamp_(self.x0 - self.room, self.x0 + self.room).clamp_(*self.edges)

    def ascent(self, u, grad, step, share=None):
        return step_along(u, steepest_linf(grad) * self.may, step)

    def random(self, draws, draw):
        noise = draws.uniform(draw, self.x0.shape[1:], self.x0.dtype) * 2 - 1
        return self.project_(self.x0 + noise * self.room)

    def distance(self, x, witness=None):
        change = (x.double() - self.x0.double()).abs()
        change = torch.where(self.may | (change == 0), change, torch.inf)
        return change.flatten(1).amax(1)

    def contains(self, x, witness=None):
        return self.in_box(x) & (self.distance(x) <= self.radius)

    def scaled(self, factor) -> Self:
        return replace(self, radius=self.radius * factor)

    def finalise(self, u):
        u = self.project_(u.clone())
        over = per_example(~(self.distance(u) <= self.radius), u)
        return torch.where(over, self.x0 + (u - self.x0) * (1 - 1e-6), u)


class Two(nn.Module):
    """Two classes by the sign of a weighted sum; only the first feature of four has weight 2."""

    def forward(self, x):
        score = (x.flatten(1) - 0.5) @ torch.tensor([2.0, 1.0, 1.0, 1.0], dtype=x.dtype)
        return torch.stack([score, -score], 1)


X = torch.tensor([[0.55, 0.5, 0.5, 0.5], [0.5, 0.65, 0.5, 0.5], [0.9, 0.9, 0.9, 0.9]])
Y = torch.zeros(3, dtype=torch.int64)
ONE = FirstFeatures(1, 0.1)
SUITE = """
attacks:
  pgd: {attack: PGD, steps: 10, threats: [first]}
  apgd: {attack: APGD, steps: 10, threats: [-ball]}
  not-here: {attack: Square, steps: 5, threats: [ball]}
"""


def test_it_is_read_from_text_and_shown_in_the_grammar():
    assert threat(" FIRST:1, 1/10 ") == ONE
    assert threat(str(ONE | hb.L2(1))) == ONE | hb.L2(1)
    assert ONE.kind == "first"
    assert FirstFeatures.grammar in grammar()
    with pytest.raises(hb.InputError, match="first:COUNT,EPS"):
        threat("last:1,0.1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("first:2,abc", "first:2,abc: 'abc' is no number: give e.g. 0.3 or 8/255"),
        ("first:2", "first:2: '' is no number: give e.g. 0.3 or 8/255"),
        ("first:2,1/0", "first:2,1/0: '1/0' is no number: give e.g. 0.3 or 8/255"),
        ("first:x,0.1", "first:x,0.1: 'x' is no whole number: give e.g. 20"),
        ("first:2.5,0.1", "first:2.5,0.1: '2.5' is no whole number: give e.g. 20"),
    ],
)
def test_text_that_is_no_number_is_refused(text, says):
    with pytest.raises(hb.InputError) as error:
        threat(text)
    assert str(error.value) == says


def test_attacks_find_its_optimum():
    out = PGD(steps=10, loss="margin")(Two(), X, Y, ONE, stop=False)
    assert out.fooled.tolist() == [True, True, False]
    assert torch.allclose(out.points, X - torch.tensor([0.1, 0, 0, 0]), atol=1e-6)
    assert ONE.contains(X, out.points).all()


def test_a_suite_names_it_and_the_judge_believes_it(tmp_path):
    suite = tmp_path / "own.yaml"
    suite.write_text(SUITE)
    found = hb.evaluate(Two(), X, Y, ONE | hb.Linf(0.01), suite=str(suite), out=tmp_path / "run")
    assert found.accuracy[str(ONE)] == pytest.approx(1 / 3)
    assert found.accuracy["linf:0.01"] == 1.0
    assert found.union_accuracy == pytest.approx(1 / 3)
    assert hb.verify(tmp_path / "run", Two()).ok


def test_training_attacks_it_by_gradients():
    strategy = hb.train.Single(ONE, steps=3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    hb.train.fit(model, (X, Y), strategy, epochs=1, seed=0)


def test_points_beyond_the_first_features_are_outside():
    moved = X + torch.tensor([0.0, 0.01, 0.0, 0.0])
    assert not ONE.contains(X, moved).any()
