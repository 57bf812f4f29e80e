"""Goals: other logits, of which the label is wrong exactly where the goal is reached."""

import pytest
import torch
from tests.helpers.oracles import refusal

import hauberk as hb
from hauberk.victims.ensembles import Vote
from hauberk.victims.goals import Confident, Goal, Toward
from hauberk.victims.victim import Victim

LOGITS = torch.randn(500, 4, generator=torch.manual_seed(0)) * 3
Y = torch.arange(500) % 4


def test_a_target_is_reached_where_the_model_decides_for_it():
    victim = Victim(torch.nn.Identity()).aiming(Toward(2))
    aims = victim.goal.aims(Y, torch.arange(500))
    assert torch.equal(victim.wrong(LOGITS, aims), LOGITS.argmax(1) == 2)
    others = LOGITS[:, [0, 1, 3]].amax(1)
    torch.testing.assert_close(victim.margin(LOGITS, aims), (LOGITS[:, 2] - others).double())
    tie, lost = torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([[torch.nan, 0.0, 1.0, 0.0]])
    assert victim.wrong(tie, aims[:1])
    assert not victim.wrong(lost, aims[:1])


def test_a_mistake_is_confident_where_a_wrong_class_has_the_probability():
    for share in (0.2, 0.5, 0.9, 0.999):
        victim = Victim(torch.nn.Identity()).aiming(Confident(share))
        probability = LOGITS.double().softmax(1).scatter(1, Y[:, None], 0.0).amax(1)
        assert torch.equal(victim.wrong(LOGITS, Y), probability >= share)
    far = torch.tensor([[0.0, 80.0, 0.0, 0.0]])  # the rest rounds to nothing beside it
    surely = Victim(torch.nn.Identity()).aiming(Confident(1 - 1e-12))
    assert surely.wrong(far, torch.tensor([0]))
    assert not surely.wrong(far / 4, torch.tensor([0]))
    half = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]])
    assert Victim(torch.nn.Identity()).aiming(Confident(0.5)).wrong(half, torch.tensor([0]))


def test_gradients_climb_towards_the_goal():
    for goal in (Toward(2), Confident(0.9)):
        z = LOGITS.double().requires_grad_()
        y = goal.aims(Y, torch.arange(500))
        shown, own = goal.seen(z, y)
        loss = torch.nn.functional.cross_entropy(shown, own, reduction="sum")
        (grad,) = torch.autograd.grad(loss, z)
        assert grad.isfinite().all()
        before = Victim(torch.nn.Identity()).aiming(goal).margin(LOGITS, y)
        after = Victim(torch.nn.Identity()).aiming(goal).margin(LOGITS + 1e-3 * grad.sign(), y)
        assert (after >= before).all()


def test_a_class_for_each_example_follows_its_id():
    goal = Toward([3, 0, 1]).bound(torch.tensor([20, 7, 9]))
    ids = torch.tensor([9, 20])
    assert goal.aims(torch.zeros(2, dtype=torch.int64), ids).tolist() == [1, 3]
    assert "no class for example 8" in refusal(goal.aims, torch.zeros(1).long(), torch.tensor([8]))
    assert "for 2 examples" in refusal(Toward([3, 0, 1]).bound, torch.arange(2))


@pytest.mark.parametrize("text", ["target=3", "target=1;2;0", "confident:0.9", "confident:0.999"])
def test_notations_are_written_back(text):
    assert str(Goal.of(text)) == text
    assert Goal.of(Goal.of(text)) is not None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("goal", "unknown goal 'goal': write target=CLASS"), ("target=", "unknown goal"),
        ("target=none.npy", "no file none.npy"), ("confident:1", "above 0 and below 1"),
        ("confident:x", "unknown goal"), ("target=0.5;1", "no classes"), ("target=-1", "negative"),
    ],
)  # fmt: skip
def test_others_are_refused(text, what):
    assert what in refusal(Goal.of, text)


def test_only_one_models_own_decision_has_a_goal():
    with pytest.raises(hb.InputError, match="not of votes"):
        Vote([torch.nn.Linear(2, 2)]).aiming(Toward(1))
    assert "the model has classes 0 to 2" in refusal(Toward(3).check, 3)
    victim = Victim(torch.nn.Identity())
    assert victim.aiming(None) is victim
