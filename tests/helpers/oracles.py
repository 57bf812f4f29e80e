"""What several tests read off a run: its queries, the judge's word, one answer of an objective."""

import csv
from math import inf

import pytest
import torch

from hauberk.errors import InputError
from hauberk.evaluation.core.judge import judge
from hauberk.threats.base import Box
from hauberk.victims.victim import Victim


def judged(model, threat, x, y, outcome, box=(0.0, 1.0), most=inf):
    """The judge's verdict on an outcome, whose points it must allow at the distances named.

    Args:
        most: the largest distance that an outcome may name.
    """
    points, witness = outcome.points, outcome.witness
    verdict = judge(Victim(model), threat, x, points, y, Box.of(box), witness)
    assert verdict.allowed.all()
    torch.testing.assert_close(verdict.distance, outcome.distance)
    assert (outcome.distance <= most).all()
    return verdict


def queries(attack, threat, model, x, y, **options):
    """The points that an attack asks the model for, batch by batch."""
    asked = []
    handle = model.register_forward_pre_hook(
        lambda _, given: asked.append(given[0].detach().clone())
    )
    try:
        attack(model, x, y, threat, stop=False, **options)
    finally:
        handle.remove()
    return asked


def ask(objective, victim, x, y, target=None):
    """One evaluation of an objective, and the gradient in the inputs."""
    x = x.clone().requires_grad_()
    with victim.held():
        found = objective(victim, x, y, target, None)
        return found, victim.gradient(found.head, found.slope, x)


def refusal(call, *args, **options):
    """The message of the InputError that a call raises: one line."""
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def csv_rows(path):
    """The rows of a CSV file, each a mapping of its columns."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def weights(model):
    """All parameters of a model in one row."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def same_state(model, other):
    """Whether two models hold the same parameters and buffers, to the bit."""
    a, b = model.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
