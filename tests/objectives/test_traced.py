"""An objective that keeps what an attack sees: the same search, and the loss of every iterate."""

import pytest
import torch
from helpers.models import Linear, Recorder
from torch.nn import functional as F

from hauberk import L1, Linf
from hauberk.attacks import APGD, PGD, PWCF
from hauberk.errors import InputError
from hauberk.objectives.traced import Traced


def case(n=6, classes=3):
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(n, 20, generator=rng)
    model = Linear(20, classes)
    return model, x, model(x).argmax(1)


def test_the_path_is_the_loss_at_every_point_asked_for():
    model, x, y = case()
    seen = Recorder(model)
    attack = PGD(steps=7, loss=Traced("margin", shown="ce"))
    found = attack(seen, x, y, Linf(0.2), stop=False)
    asked = torch.stack(seen.asked)  # (T, B, features), first the batch's own
    assert asked.shape == (8, 6, 20)
    for t in range(8):
        logits = model(asked[t])
        ce = F.cross_entropy(logits, y, reduction="none")
        assert torch.allclose(found.path[:, t, 0], ce, atol=1e-6)
        assert torch.equal(found.path[:, t, 1] > 0, logits.argmax(1) != y)
    assert bool((found.path[:, :, 2] == 1).all())


@pytest.mark.parametrize("attack", [PGD(steps=9), APGD(steps=12, targets=2, loss="dlr")])
def test_the_search_is_the_same(attack):
    model, x, y = case()
    plain = attack(model, x, y, Linf(0.1), stop=False)
    settings = {**vars(attack), "loss": Traced(attack.loss)}
    traced = type(attack)(**settings)(model, x, y, Linf(0.1), stop=False)
    assert torch.equal(plain.points, traced.points)
    assert torch.equal(plain.loss, traced.loss)
    assert torch.equal(plain.fooled, traced.fooled)


def test_pwcf_takes_its_cap_from_the_loss_in_it():
    for loss in ("ce", "margin"):
        assert PWCF(loss=Traced(loss))._cap == PWCF(loss=loss)._cap
    assert PWCF(loss=Traced("ce"))._cap != PWCF(loss=Traced("margin"))._cap


def test_iterates_outside_the_threat_are_marked():
    """Auto-PGD in l1 begins in larger balls."""
    model, x, y = case()
    found = APGD(steps=20, loss=Traced("ce"))(model, x, y, L1(1.0), stop=False)
    inside = found.path[:, :, 2]
    assert bool((inside[:, 0] == 0).all())
    assert bool((inside[:, -1] == 1).all())


def test_what_it_refuses():
    with pytest.raises(InputError, match="unknown loss 'huge'"):
        Traced(shown="huge")
