"""Transfer over several threats, with votes and a check: cases that can be counted by hand."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import FGSM, PGD
from hauberk.attacks.base import Attack
from hauberk.engine.state import State
from hauberk.errors import InputError
from hauberk.evaluation.transfer import TransferReports, TransferTable, transfer
from hauberk.evaluation.transfers.question import Check, Craft
from hauberk.objectives.votes import VoteSum
from hauberk.store.ledger import Ledger
from hauberk.threats import L2, Linf
from hauberk.victims.ensembles import Vote

N = 10


class Threshold(nn.Module):
    """Class 1 where the first feature is above a threshold; blind: with a reversed gradient."""

    def __init__(self, at, blind=False):
        super().__init__()
        self.at, self.blind = at, blind

    def forward(self, x):
        first = x.flatten(1)[:, 0]
        score = first - self.at
        if self.blind:
            score = 2 * score.detach() - score
        return torch.stack([-score, score], 1)


def data():
    """Ten points whose first features are 0.05, 0.15, ..., 0.95; the label is 1 above 0.5."""
    first = torch.arange(N).double() / 10 + 0.05
    x = torch.stack([first, torch.full((N,), 0.5).double()], 1)
    return x, (first > 0.5).long()


PLAIN = PGD(steps=2, step_share=1.0, random_start=False, loss="margin")
MODELS = {"half": Threshold(0.5), "blind": Threshold(0.5, blind=True), "low": Threshold(0.3)}
SIZES = [Linf(0.1), Linf(0.2)]


@pytest.fixture(scope="module")
def found():
    return transfer(MODELS, *data(), SIZES, PLAIN)


def test_accuracies_over_several_sizes(found):
    """half falls within eps of 0.5; blind to half's points alone; low is wrong at 0.35 and 0.45."""
    assert isinstance(found, TransferReports)
    assert list(found) == ["linf:0.1", "linf:0.2"]
    one, two = found.values()
    assert one.clean == two.clean == found.clean == {"half": 1.0, "blind": 1.0, "low": 0.8}
    # 0.45 and 0.55 fall at 0.1; 0.35 to 0.65 at 0.2. low: 0.25 at 0.1 and 0.15 and 0.25 at 0.2.
    assert one.whitebox == {"half": 0.8, "blind": 1.0, "low": 0.7}
    assert two.whitebox == {"half": 0.6, "blind": 1.0, "low": 0.6}
    assert one.combined == {"half": 0.8, "blind": 0.8, "low": 0.7}
    # half's points move 0.45 and 0.35 up, 0.55 and all above down: none of them below 0.3 at 0.1.
    assert two.combined == {"half": 0.6, "blind": 0.6, "low": 0.6}
    assert one.gap == pytest.approx({"half": 0.0, "blind": 0.2, "low": 0.0})
    assert two.gap == pytest.approx({"half": 0.0, "blind": 0.4, "low": 0.0})


def test_averages_with_and_without_clean_accuracy(found):
    assert found.average_accuracy == pytest.approx(
        {
            "half": (1.0 + 0.8 + 0.6) / 3,
            "blind": (1.0 + 0.8 + 0.6) / 3,
            "low": (0.8 + 0.7 + 0.6) / 3,
        }
    )
    assert found.average_robust_accuracy == pytest.approx({"half": 0.7, "blind": 0.7, "low": 0.65})
    assert found.summary["avg_acc"] == pytest.approx(found.average_accuracy)
    assert found.summary["avg_rob_acc"] == pytest.approx(found.average_robust_accuracy)


def test_the_summary_has_every_case(found):
    case = found.summary["threats"]["linf:0.2"]
    assert case["broke"]["half"]["blind"] == 0.4
    assert case["broke"]["blind"] == {"half": 0.0, "blind": 0.0, "low": 0.0}
    assert case["gap"]["blind"] == pytest.approx(0.4)
    low, high = case["whitebox_interval"]["half"]
    assert low < 0.6 < high
    assert case["combined_interval"]["blind"] == case["whitebox_interval"]["half"]
    assert found.summary["clean_intervals"]["half"][1] == 1.0
    text = str(found)
    for word in ("AvgRobAcc", "linf:0.2", "40.0%"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


def test_one_threat_in_a_list_is_that_threat_alone(found):
    alone = transfer(MODELS, *data(), SIZES[1], PLAIN)
    assert alone.combined == found["linf:0.2"].combined
    assert alone.summary["avg_rob_acc"] == alone.combined
    assert alone.summary["threats"]["linf:0.2"]["combined"] == alone.summary["combined"]
    listed = transfer(MODELS, *data(), [SIZES[1]], PLAIN)
    assert list(listed) == ["linf:0.2"]
    assert listed["linf:0.2"].whitebox == alone.whitebox


def test_a_threat_that_is_in_two_cases_counts_for_its_own():
    union = Linf(0.1) | L2(0.2)
    found = transfer(MODELS, *data(), [union, Linf(0.1), L2(0.2)], PLAIN)
    assert list(found) == ["linf:0.1 | l2:0.2", "linf:0.1", "l2:0.2"]
    assert [report.whitebox["half"] for report in found.values()] == [0.6, 0.8, 0.6]


def vote():
    return Vote([Threshold(0.5), Threshold(0.5, blind=True), Threshold(0.3)])


def test_votes_have_attacks_of_their_own():
    """The sum of the members' losses moves the two that have a gradient; two of three decide."""
    x, y = data()
    models = {"half": MODELS["half"], "vote": vote()}
    useless = replace(PLAIN, steps=1, step_share=None, step_size=1e-6)
    given = {"vote_attack": replace(PLAIN, loss=VoteSum("margin"))}
    weak = transfer(models, x, y, Linf(0.1), useless, **given)
    assert weak.whitebox == {"half": 1.0, "vote": 0.8}
    assert weak.combined == {"half": 0.8, "vote": 0.8}
    strong = transfer(models, x, y, Linf(0.1), PLAIN, vote_attack=[useless])
    assert strong.whitebox == {"half": 0.8, "vote": 1.0}
    assert strong.combined["vote"] == 0.8
    assert strong.gap["vote"] == pytest.approx(0.2)


@dataclass(frozen=True, kw_only=True)
class Up(Attack[State]):
    """One step of the threat's size in a direction, without gradients."""

    up: float = 1.0
    steps: int = 1

    def wants_gradient(self, clock):
        return False

    def init(self, problem):
        return State(u=problem.start())

    def step(self, problem, state, response):
        region = problem.region
        return State(u=region.project_(state.u + self.up * region.eps.view(-1, 1)))


def test_the_check_says_what_white_box_attacks_did_not_break():
    x, y = data()
    found = transfer(MODELS, x, y, SIZES, PLAIN, check=Up(), checked=5)
    # Upwards within 0.2 of 0.5, among the first five: 0.45 at 0.1; 0.35 and 0.45 at 0.2. low is
    # wrong there anyway; upwards its 0.25 falls at 0.1, and 0.15 and 0.25 at 0.2, as before.
    told = found.summary["check"]
    assert (told["attack"], told["n"]) == ("Up", 5)
    assert told["threats"]["linf:0.1"] == {
        "half": {"broke": 1, "broke_more": 0},
        "blind": {"broke": 1, "broke_more": 1},
        "low": {"broke": 1, "broke_more": 0},
    }
    assert told["threats"]["linf:0.2"]["blind"] == {"broke": 2, "broke_more": 2}
    assert [line for line in found.warnings if "Up breaks" in line] == [
        "Up breaks 1 of 5 examples on blind under linf:0.1 that white-box attacks do not: its "
        "gradients may mislead",
        "Up breaks 2 of 5 examples on blind under linf:0.2 that white-box attacks do not: its "
        "gradients may mislead",
    ]
    # It counts for no accuracy.
    assert found["linf:0.2"].whitebox["blind"] == 1.0
    assert found["linf:0.1"].combined == {"half": 0.8, "blind": 0.8, "low": 0.7}
    assert "of which white-box attacks did not 3" in " ".join(str(found).split())


@pytest.mark.parametrize("block", [1, 3, 4, 100])
@pytest.mark.parametrize("checked", [1, 4, 9, 100])
def test_the_check_takes_the_first_examples_whatever_the_blocks(block, checked):
    x, y = data()
    found = transfer(
        {"blind": MODELS["blind"]}, x, y, [Linf(0.5)], PLAIN, check=Up(), checked=checked,
        block=block,
    )  # fmt: skip
    told = found.summary["check"]
    assert told["threats"]["linf:0.5"]["blind"]["broke"] == min(checked, 5)
    assert told["n"] == min(checked, N)


def run(out, **more):
    x, y = data()
    models = MODELS | {"vote": vote()}
    return transfer(
        models, x, y, SIZES, [PLAIN, FGSM()], vote_attack=replace(PLAIN, loss=VoteSum("margin")),
        check=PGD(steps=1), checked=4, out=out, block=3, **more,
    )  # fmt: skip


def test_the_ledger_resumes_and_verifies(tmp_path):
    whole = run(tmp_path / "a")
    ledger = Ledger.open(tmp_path / "a")
    assert hb.verify(tmp_path / "a", MODELS | {"vote": vote()}).ok
    crafted = ledger.keys("craft-")
    # Four blocks; three models with two attacks and one vote with one, under two threats.
    assert len(crafted) == 4 * (3 * 2 + 1) * 2
    assert len(ledger.keys("check-")) == 4 * 4 * 2
    for key in [*crafted[5:9], *ledger.keys("check-")[:3]]:
        for file in (tmp_path / "a" / "parts").glob(f"{key}.*"):
            file.unlink()
    again = run(tmp_path / "a", resume=True)
    assert dict(again) == dict(whole)
    assert again.summary["check"] == whole.summary["check"]
    assert dict(run(None)) == dict(whole)
    question = TransferTable.of(ledger.manifest)
    assert question.facts()["check"]["attack"] == "PGD"
    assert question.cases == tuple(SIZES)
    assert (question.several, question.checked, len(question.vote_attacks)) == (True, 4, 1)


def test_a_verified_run_is_refuted_where_the_models_differ(tmp_path):
    run(tmp_path / "a")
    others = MODELS | {"half": Threshold(0.95), "vote": vote()}
    assert not hb.verify(tmp_path / "a", others).ok


def test_runs_have_random_numbers_of_their_own():
    setting = type("Setting", (), {"victims": {"half": object(), "low": object()}})()
    table = TransferTable(tuple(SIZES), (PLAIN, PLAIN), several=True, check=PGD())
    tasks = table.tasks(setting)
    crafts = [task for task in tasks if not isinstance(task, Check)]
    assert [task.stream for task in crafts] == [0, 1, 2, 3] * 2
    assert all(type(task) is Craft and not task.stop for task in crafts)
    assert len({task.key for task in tasks}) == len(tasks) == 12
    assert {task.stream for task in tasks if isinstance(task, Check)}.isdisjoint(range(10000))
    assert all(task.stop for task in tasks if isinstance(task, Check))


def test_equal_attacks_start_at_different_points(tmp_path):
    still = PGD(steps=1, step_size=1e-9)  # so that the points are about those of the start
    transfer(MODELS, *data(), Linf(0.2), [still, still], out=tmp_path / "run", seed=4)
    ledger = Ledger.open(tmp_path / "run")
    one, other = (ledger.tensors(f"craft-00000-00-{k:03d}")["points"] for k in (0, 1))
    assert ((one - other).abs().amax(1) > 1e-4).all()
    again = ledger.tensors("craft-00000-02-000")["points"]  # of another model, from the same start
    assert (one - again).abs().max() < 1e-6


def test_errors():
    x, y = data()
    for more, says in (
        ({"threat": []}, "no threat"),
        ({"threat": [Linf(0.1), Linf(0.1)]}, "linf:0.1 is named twice"),
        ({"vote_attack": "pgd"}, "at least one attack"),
        ({"check": "spsa"}, "check is 'spsa'"),
        ({"check": PGD(), "checked": 0}, "checked is 0"),
    ):
        with pytest.raises(InputError, match=says):
            transfer(MODELS, x, y, **{"threat": SIZES, "attack": PLAIN} | more)
