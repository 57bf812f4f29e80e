"""Jobs and methods: what is asked, what may answer, and an attack in one class."""

from dataclasses import dataclass, replace

import pytest
import torch

from hauberk import InputError, evaluate
from hauberk.attacks import APGD, PGD, Attack
from hauberk.attacks.transfer import Transfer
from hauberk.attacks.unbounded import Unbounded
from hauberk.engine.method import Job, Kind, Method, WarmStart
from hauberk.engine.state import State
from hauberk.solvers.as_attack import AsAttack
from hauberk.solvers.base import Solver
from hauberk.solvers.fmn import FMN
from hauberk.solvers.portfolio import Portfolio
from hauberk.threats import L2, Linf, RotationTranslation
from hauberk.victims.victim import Victim


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 3)).double()


def examples(n=5):
    x = torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, net()(x).argmax(1)


@dataclass(frozen=True, kw_only=True)
class SignAscent(Attack[State]):
    """A whole attack: where to begin, and where to look next."""

    steps: int = 10

    def init(self, problem):
        return State(u=problem.start())

    def step(self, problem, state, response):
        region = problem.region
        moved = region.ascent(state.u, response.grad, region.eps * 2 / self.steps)
        return State(u=region.project_(moved))


def test_an_attack_is_one_class():
    x, y = examples()
    found = SignAscent()(net(), x, y, Linf(0.1), stop=False)
    assert (found.forwards == 11).all()
    assert (found.backwards == 10).all()
    assert Linf(0.1).contains(x, found.points).all()
    best = APGD(steps=50)(net(), x, y, Linf(0.1), stop=False)
    torch.testing.assert_close(found.loss, best.loss)  # the model is linear
    assert SignAscent().describe() == {
        "attack": "SignAscent", "kind": "gradient", "loss": "margin", "steps": 10, "restarts": 1,
        "targets": 0, "rank": "logits", "soften": 0.0,
    }  # fmt: skip


def test_a_new_attack_runs_in_suites_restarts_and_other_threats():
    x, y = examples()
    result = evaluate(net(), x, y, [Linf(0.3), L2(0.5)], suite=SignAscent(targets=2, restarts=2))
    assert result.union_accuracy <= result.average_accuracy
    found = SignAscent(steps=3)(net(), x, y, RotationTranslation(20, 1))
    assert RotationTranslation(20, 1).contains(x, found.points, found.witness).all()


def test_no_step_follows_the_last_evaluation():
    calls = []

    class Counted(SignAscent):
        def step(self, problem, state, response):
            calls.append(int(response.clock.count[0]))
            return super().step(problem, state, response)

    x, y = examples(1)
    Counted(steps=4)(net(), x, y, Linf(0.1), stop=False)
    assert calls == [0, 1, 2, 3]


def test_points_outside_the_threat_are_no_results():
    @dataclass(frozen=True, kw_only=True)
    class Outside(SignAscent):
        def step(self, problem, state, response):
            region = problem.region
            u = region.ascent(state.u, response.grad, region.eps)
            return State(u=u, feasible=region.contains(u))

    x, y = examples()
    for stop in (True, False):
        found = Outside(steps=5)(net(), x, y, Linf(0.05), stop=stop)
        assert Linf(0.05).contains(x, found.points).all()
        assert torch.equal(found.fooled, net()(found.points).argmax(1) != y)


def test_a_job_is_taken_apart_by_rows():
    x, y = examples()
    rows = torch.tensor([3, 1])
    warm = WarmStart(x.unsqueeze(1).repeat(1, 2, 1, 1, 1), torch.eye(5, 2, dtype=torch.bool))
    job = Job(
        threat=Linf(0.1), x=x, y=y, seed=3, warm=warm, clean_logits=net()(x),
        targets=torch.arange(5).unsqueeze(1),
    )  # fmt: skip
    part = job.take(rows)
    assert len(part) == 2
    assert part.example_ids.tolist() == [3, 1]
    assert part.take(torch.tensor([1])).example_ids.tolist() == [1]
    assert torch.equal(part.x, x[rows])
    assert torch.equal(part.warm.mask, warm.given[rows])
    assert torch.equal(part.clean_logits, job.clean_logits[rows])
    assert part.targets.tolist() == [[3], [1]]
    assert part.seed == 3
    assert part.threat == job.threat
    assert WarmStart(warm.points).take(rows).mask.all()


@pytest.mark.parametrize(
    "method",
    [
        SignAscent(), APGD(steps=3, restarts=2), Unbounded(inner=PGD(steps=3)),
        AsAttack(solver=FMN(steps=5)), Transfer(sources=[net()], attack=PGD(steps=3)),
    ],
    ids=lambda method: type(method).__name__,
)  # fmt: skip
def test_rows_of_a_job_are_found_as_with_the_rest(method):
    x, y = examples()
    job = Job(threat=L2(0.3), x=x, y=y, seed=2, stop=False)
    method.check(job)
    whole, rows = method.run(Victim(net()), job), torch.tensor([4, 0])
    part = method.run(Victim(net()), job.take(rows))
    torch.testing.assert_close(part.points, whole.points[rows], rtol=0, atol=1e-9)
    assert torch.equal(part.fooled, whole.fooled[rows])
    assert (whole.forwards + whole.backwards <= method.attempts(3) * method.passes + 1).all()
    assert method.describe()["attack"] == type(method).__name__


def test_what_a_method_has_no_use_for_is_no_setting():
    for method in (Unbounded(), AsAttack(), Portfolio()):
        assert not hasattr(method, "restarts")
        assert not hasattr(method, "init")
        assert isinstance(method, Method)
    assert isinstance(Portfolio(), Solver)
    assert not isinstance(FMN(), Attack)
    assert {Unbounded.kind, Transfer.kind, PGD.kind} == {
        Kind.SANITY, Kind.TRANSFER, Kind.GRADIENT
    }  # fmt: skip


def test_refusals_come_before_any_work():
    x, y = examples()
    warp = Job(threat=RotationTranslation(20, 1), x=x, y=y)
    for method in (AsAttack(), FMN(), Unbounded(inner=AsAttack())):
        with pytest.raises(InputError):
            method.check(warp)
    FMN().check(replace(warp, threat=FMN().serve("l2")))
