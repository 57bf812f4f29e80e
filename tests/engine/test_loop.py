"""The stepping loop: slots, targets, passes, and results that depend on no company."""

from dataclasses import dataclass

import pytest
import torch
from helpers.models import Constant, TwoLayers
from torch import nn

from hauberk import InputError
from hauberk.attacks import APGD, FGSM, PGD, SparseL1Descent
from hauberk.engine.loop import drive
from hauberk.engine.method import Job
from hauberk.objectives.base import Objective
from hauberk.threats import L1, L2, Linf, Union
from hauberk.victims.victim import Victim


def bent(classes=5, kind=TwoLayers):
    """A small network in float64, so that rounding decides nothing."""
    return kind(12, 32, classes, activation=torch.relu, seed=0, centre=0.5, dtype=torch.float64)


class RowByRow(TwoLayers):
    """Not even the last bit depends on the rest of the batch."""

    def forward(self, x):
        return torch.cat([super(RowByRow, self).forward(row) for row in x.split(1)])


def data(n=40, classes=5, features=12, model=None):
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(n, features, generator=rng, dtype=torch.float64)
    y = torch.randint(classes, (n,), generator=rng)
    if model is not None:
        y = model(x).argmax(1)
    return x, y


ATTACKS = [
    (APGD(steps=8), Linf(0.05)),
    (APGD(steps=10, loss="ce"), L1(0.6)),
    (APGD(steps=6, loss="dlr", targets=3, restarts=2), L2(0.15)),
    (PGD(steps=7, restarts=3), Linf(0.04)),
    (PGD(steps=6, momentum=0.9), L2(0.15)),
    (SparseL1Descent(steps=12, restarts=2), L1(0.6)),
]
attacks = pytest.mark.parametrize(("attack", "threat"), ATTACKS, ids=str)


def exact(attack, threat):
    """APGD in l1 counts changed coordinates: that hangs on the last bit of a projection's sums."""
    return not (isinstance(attack, APGD) and threat == L1(0.6))


@attacks
@pytest.mark.parametrize("stop", [True, False])
def test_batch_size_changes_nothing(attack, threat, stop):
    model = bent(kind=RowByRow)
    x, y = data(20, model=model)
    whole = attack(model, x, y, threat, stop=stop)
    assert 0 < whole.fooled.sum() < len(x)
    for size in (1, 3, 11):
        parts = attack(model, x, y, threat, stop=stop, batch_size=size)
        assert torch.equal(parts.fooled, whole.fooled)
        # Of several attempts that succeed, the batch size may decide which is the first.
        if exact(attack, threat) and (not stop or attack.attempts(5) == 1):
            torch.testing.assert_close(parts.points, whole.points, rtol=0, atol=1e-12)
            torch.testing.assert_close(parts.loss, whole.loss)
            assert torch.equal(parts.attempt, whole.attempt)


@attacks
def test_order_and_company_change_nothing(attack, threat):
    model = bent(kind=RowByRow)
    x, y = data(20, model=model)
    whole = attack(model, x, y, threat)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    shuffled = attack(model, x[order], y[order], threat, ids=order, batch_size=7)
    assert torch.equal(shuffled.fooled, whole.fooled[order])
    some = order[:5]
    few = attack(model, x[some], y[some], threat, ids=some)
    assert torch.equal(few.fooled, whole.fooled[some])
    if exact(attack, threat):
        torch.testing.assert_close(few.points, whole.points[some], rtol=0, atol=1e-12)


@attacks
def test_decisions_of_an_ordinary_model_do_not_depend_on_the_batch(attack, threat):
    model = bent()
    x, y = data(60, model=model)
    whole = attack(model, x, y, threat)
    parts = attack(model, x, y, threat, batch_size=13)
    assert (parts.fooled != whole.fooled).sum() <= 1


@attacks
def test_seed_decides(attack, threat):
    model = bent()
    x, y = data(model=model)
    one, again, other = (attack(model, x, y, threat, seed=s, stop=False) for s in (0, 0, 1))
    assert torch.equal(one.points, again.points)
    assert not torch.equal(one.points, other.points)


def test_streams_tell_attacks_apart():
    model = bent()
    x, y = data(model=model)
    victim, found = Victim(model), []
    for stream in (0, 1):
        job = Job(threat=Linf(0.05), x=x, y=y, stream=stream, stop=False)
        out = drive(PGD(steps=1), victim, job)
        found.append(out.points)
    assert not torch.equal(*found)


def test_global_generators_are_not_touched():
    model = bent()
    before = torch.get_rng_state()
    for attack, threat in ATTACKS:
        attack(model, *data(6, model=model), threat)
    assert torch.equal(torch.get_rng_state(), before)


@dataclass(frozen=True)
class Costs:
    forwards: list
    backwards: list

    @classmethod
    def of(cls, out):
        return cls(out.forwards.tolist(), out.backwards.tolist())


def test_an_example_never_fooled_costs_every_pass():
    x, y = data(4)
    model = Constant(1.0, 0.0, 0.0)
    for attack, attempts in (
        (PGD(steps=7), 1),
        (APGD(steps=7), 1),
        (FGSM(), 1),
        (PGD(steps=3, restarts=4), 4),
    ):
        victim = Victim(model)
        out = attack(victim, x, y * 0, Linf(0.1))
        assert Costs.of(out) == Costs(
            [attempts * (attack.steps + 1)] * 4, [attempts * attack.steps] * 4
        )
        assert (victim.forwards, victim.backwards) == (
            int(out.forwards.sum()),
            int(out.backwards.sum()),
        )
        assert attack.passes * attempts == out.forwards[0] + out.backwards[0]
        assert not out.fooled.any()


def test_targets_cost_one_pass_for_the_clean_logits():
    x, y = data(4)
    attack = APGD(steps=5, loss="dlr", targets=9)  # of which a model of three classes has two
    assert attack.attempts(3) == 2
    victim = Victim(Constant(1.0, 0.0, 0.0))
    out = attack(victim, x, y * 0, Linf(0.1))
    assert Costs.of(out) == Costs([2 * 6 + 1] * 4, [2 * 5] * 4)
    known = torch.tensor([[1.0, 0, 0]]).expand(4, 3)
    job = Job(threat=Linf(0.1), x=x, y=y * 0, clean_logits=known)
    out = drive(attack, Victim(victim.model), job)
    assert Costs.of(out) == Costs([2 * 6] * 4, [2 * 5] * 4)


def test_an_example_that_is_fooled_leaves_at_once():
    x = torch.full((3, 4), 0.5)
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 4, [1.0] * 4]))
        model.bias.copy_(torch.tensor([2.3, 0.0]))  # class 1 where the features sum to 2.3
    steps = PGD(steps=20, step_size=0.02, random_start=False)
    y = torch.tensor([0, 1, 0])
    x[2] = 0.56
    out = steps(model, x, y, Linf(0.1))
    assert out.fooled.all()
    # 2 + 4 * 0.02 k >= 2.3 at k = 4; example 1 is wrong from the start; 2.24 needs one step.
    assert Costs.of(out) == Costs([5, 1, 2], [5, 1, 2])
    assert torch.equal(out.points[1], x[1])
    torch.testing.assert_close(out.distance, torch.tensor([0.08, 0, 0.02]).double())
    torch.testing.assert_close(out.loss[1:], out.loss.new_tensor([0.405465, 0]), rtol=0, atol=1)
    on = steps(model, x, y, Linf(0.1), stop=False)
    assert Costs.of(on) == Costs([21] * 3, [20] * 3)
    torch.testing.assert_close(on.points[[0, 2]], (x + 0.1)[[0, 2]])
    torch.testing.assert_close(on.points[1], x[1] - 0.1)


def test_siblings_of_a_success_are_cancelled():
    """Five restarts at once: the first to succeed spares the others their steps."""
    x = torch.full((1, 4), 0.5)
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 4, [1.0] * 4]))
        model.bias.copy_(torch.tensor([2.3, 0.0]))
    attack = PGD(steps=50, step_size=0.02, random_start=False, restarts=5)
    out = attack(model, x, torch.tensor([0]), Linf(0.1))
    assert out.fooled.all()
    assert Costs.of(out) == Costs([25], [25])  # five slots, five evaluations each
    out = attack(model, x, torch.tensor([0]), Linf(0.1), batch_size=1)
    assert Costs.of(out) == Costs([5], [5])  # nobody beside the first
    out = attack(model, x, torch.tensor([0]), Linf(0.01), batch_size=2)
    assert not out.fooled.any()
    assert out.forwards.tolist() == [255]


def test_slots_are_taken_again():
    """More attempts than slots, and examples that leave at different times."""
    model = bent()
    x, y = data(60, model=model)
    sizes = []
    model.register_forward_hook(lambda module, given, out: sizes.append(len(given[0])))
    attack = PGD(steps=6, restarts=3)
    victim = Victim(model, batch_size=16)
    with victim.held():
        out = attack(victim, x, y, Linf(0.04))
    assert max(sizes) == 16
    # The batch stays full until the queue is empty.
    assert sum(size < 12 for size in sizes) <= 2 * attack.steps
    assert victim.forwards == int(out.forwards.sum()) == sum(sizes)
    assert victim.backwards == int(out.backwards.sum())
    stands = ~out.fooled
    assert (out.forwards[stands] == 3 * 7).all()
    # A last evaluation shares its batch with slots that want gradients.
    assert (out.backwards[stands] >= 3 * 6).all()
    assert (out.backwards <= out.forwards).all()
    assert (out.forwards[out.fooled] <= 3 * 7).all()


def test_progress_ends_at_the_end():
    seen = []
    x, y = data(10)
    drive(
        PGD(steps=2, restarts=3), Victim(Constant(1.0, 0.0), 4),
        Job(threat=Linf(0.1), x=x, y=y * 0, progress=lambda done, n: seen.append((done, n))),
    )  # fmt: skip
    assert seen[-1] == (30, 30)
    assert seen == sorted(seen)


def test_targets_are_ranked_by_the_clean_logits():
    aims = []

    def spy(logits, y, target):
        aims.append((y.tolist(), target.tolist()))
        return logits.gather(1, target.unsqueeze(1)).squeeze(1)

    x, y = data(3)
    model = Constant(3.0, 1.0, 2.0, 5.0)
    # Label 3 is never lost: it sees the targets 0 and 2, twice, two evaluations each.
    PGD(steps=1, loss=spy, targets=2, restarts=2)(model, x, y * 0 + 3, Linf(0.1), batch_size=3)
    assert aims == [([3] * 3, [target] * 3) for target in (0, 0, 2, 2, 0, 0, 2, 2)]
    aims.clear()
    PGD(steps=1, loss=spy, targets=3, restarts=1)(model, x, torch.tensor([0, 3, 1]), Linf(0.1))
    assert aims[0] == ([0, 3, 1] * 3, [3, 0, 3, 2, 2, 0, 1, 1, 2])


def test_targets_of_logits_that_are_no_numbers():
    x, _ = data(2)
    model = Constant(float("nan"), float("inf"), -float("inf"), 0.0, float("inf"))
    out = APGD(steps=2, targets=4)(model, x, torch.tensor([3, 1]), Linf(0.1))
    assert out.fooled.all()


def test_the_largest_loss_of_all_points_is_kept():
    """stop=False: what comes back is the best point seen, over steps and restarts."""
    model = bent()
    x, y = data(30, model=model)
    seen = []

    def margin(logits, y):
        own = y.unsqueeze(1)
        loss = logits.scatter(1, own, -torch.inf).amax(1) - logits.gather(1, own).squeeze(1)
        seen.append(loss.detach())
        return loss

    attack = PGD(steps=10, step_size=0.03, restarts=2, loss=margin)
    out = attack(model, x, y, Linf(0.05), stop=False)
    assert all(len(losses) == 60 for losses in seen)
    best = torch.stack(seen).amax(0).view(2, 30)
    torch.testing.assert_close(out.loss, best.amax(0))
    assert torch.equal(out.attempt, best.argmax(0))
    torch.testing.assert_close(
        margin(model(out.points), y).detach(), out.loss, rtol=1e-5, atol=1e-7
    )
    assert torch.equal(out.fooled, out.loss >= 0)


def test_nan_logits_fool_with_and_without_stop():
    x, y = data(3)
    model = Constant(float("nan"), 0.0, 0.0)
    for attack, threat in ATTACKS:
        for stop in (True, False):
            out = attack(model, x, y % 3, threat, stop=stop)
            assert out.fooled.all()
            assert threat.contains(x, out.points).all()
            assert (out.attempt >= 0).all()


def test_nobody():
    for attack, threat in ATTACKS:
        out = attack(bent(), torch.empty(0, 3, 4), torch.empty(0, dtype=torch.int64), threat)
        assert len(out) == 0
        assert out.points.shape == (0, 3, 4)
        assert out.fooled.shape == out.loss.shape == out.distance.shape == (0,)
        assert out.forwards.shape == out.backwards.shape == out.attempt.shape == (0,)
        assert "0 of 0" in repr(out)


@attacks
def test_one_example_and_two_classes(attack, threat):
    model = bent(classes=2)
    x, y = data(1, model=model)
    out = attack(model, x, y, threat)
    assert out.points.shape == x.shape
    assert threat.contains(x, out.points).all()
    whole = attack(model, *data(40, model=model), threat)
    assert 0 < whole.fooled.sum() < 40


@pytest.mark.parametrize("shape", [(12,), (1, 12), (3, 2, 2), (2, 1, 3, 2)])
def test_any_shape(shape):
    model = bent()
    x, y = data(8, model=model)
    flat = APGD(steps=5)(model, x, y, L2(0.15), stop=False)
    out = APGD(steps=5)(model, x.view(8, *shape), y, L2(0.15), stop=False)
    assert out.points.shape == (8, *shape)
    torch.testing.assert_close(out.points.flatten(1), flat.points)


def test_an_outcome_is_whole_and_frozen():
    model = bent()
    x, y = data(model=model)
    out = PGD(steps=4)(model, x, y, Linf(0.05))
    assert out.points.dtype == torch.float64
    assert out.fooled.dtype == torch.bool
    assert not out.points.requires_grad
    torch.testing.assert_close(out.distance, Linf(0.05).distance(x, out.points))
    assert torch.equal(out.fooled, model(out.points).argmax(1) != y)
    assert out.witness is None
    with pytest.raises(AttributeError):
        out.points = x
    assert f"{int(out.fooled.sum())} of 40 fooled" in repr(out)


def test_inputs_are_not_written_to():
    model = bent()
    x, y = data(model=model)
    x.requires_grad_()
    before = x.detach().clone()
    for attack, threat in ATTACKS:
        out = attack(model, x, y, threat)
        assert out.points.data_ptr() != x.data_ptr()
    assert torch.equal(x, before)
    assert x.grad is None
    assert x.requires_grad


def test_labels_of_any_integer_type():
    model = bent()
    x, y = data(model=model)
    out = [PGD(steps=3)(model, x, y.to(t), Linf(0.05)).points for t in (torch.uint8, torch.int64)]
    assert torch.equal(*out)


def test_under_somebody_elses_no_grad():
    model = bent()
    x, y = data(model=model)
    calm = PGD(steps=3)(model, x, y, Linf(0.05))
    with torch.no_grad():
        out = PGD(steps=3)(model, x, y, Linf(0.05))
        assert not torch.is_grad_enabled()
    assert torch.equal(out.points, calm.points)
    assert torch.is_grad_enabled()


X, Y = torch.full((4, 3), 0.5), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (X.tolist(), Y, "must be torch tensors"),
        (X, Y.tolist(), "must be torch tensors"),
        (X.numpy(), Y, "must be torch tensors"),
        ((X * 255).byte(), Y, r"torch.uint8: give floats in the box \[0, 1\]"),
        (X.long(), Y, "give floats"),
        (X, Y.float(), "give integer class ids"),
        (X, Y.bool(), "give integer class ids"),
        (X, Y.view(4, 1), r"\(4, 1\): give integer class ids"),
        (X, Y[:3], r"\(4, 3\) inputs with 3 labels"),
        (X[:, 0], Y, r"give \(B, ...\) and \(B,\)"),
        (X[0, 0], Y, r"give \(B, ...\) and \(B,\)"),
        (X, Y - 1, "label -1 is negative"),
        (X, Y + 2, "labels reach 2 but the model has 2 classes"),
        (X * torch.tensor([1, torch.nan, 1]), Y, "input 0 holds NaN"),
        (X.index_fill(0, torch.tensor([2]), torch.inf), Y, "input 2 holds NaN or infinite"),
        (X * 4 - 2.1, Y, r"inputs lie in \[-0.1, -0.1\] but the box is \[0, 1\]: give the range"),
        (X * 2.0002, Y, "but the box is"),
    ],
)
def test_bad_inputs(x, y, says):
    with pytest.raises(InputError, match=says) as error:
        FGSM()(Constant(1.0, 0.0), x, y, Linf(0.1))
    assert "\n" not in str(error.value)


def test_a_union_is_no_threat_for_one_attack():
    with pytest.raises(InputError, match="is a union"):
        FGSM()(Constant(1.0, 0.0), X, Y, Union(Linf(0.1), L2(0.1)))


def test_bad_inputs_leave_the_model_alone():
    model = bent().train()
    with pytest.raises(InputError):
        FGSM()(model, X.repeat(1, 4), Y + 99, Linf(0.1))
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_a_box_of_ones_own():
    model = bent()
    x, y = data(model=model)
    x, box = x * 4 - 2, (-2, 2)
    out = APGD(steps=5)(model, x, y, Linf(0.5), box=box, stop=False)
    assert Linf(0.5).contains(x, out.points, box=box).all()
    assert out.points.min() == -2
    per_feature = (torch.full((12,), -2.0), torch.linspace(2, 3, 12))
    out = APGD(steps=5)(model, x, y, L1(5), box=per_feature, stop=False)
    assert L1(5).contains(x, out.points, box=per_feature).all()
    assert (out.points > 2).any()


def test_an_objective_without_a_trace_is_asked_for_it_once_and_not_at_every_step():
    asked = []

    @dataclass(frozen=True)
    class Watched(Objective):
        def traced(self, state, inside=None):
            asked.append(inside)
            return super().traced(state, inside)

    model, x = TwoLayers(6), torch.rand(3, 6)
    PGD(steps=5, loss=Watched())(model, x, model(x).argmax(1), Linf(0.01), stop=False)
    assert asked == [None]
