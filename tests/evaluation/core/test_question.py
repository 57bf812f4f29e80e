"""Every kind of run: its question rebuilds from the manifest, and its ledger is verified."""

from pathlib import Path

import pytest
from helpers.questions import UnderNoise
from helpers.runs import MODELS, QUICK, UNION, data, net

import hauberk as hb
from hauberk.attacks import FGSM, PGD, Square
from hauberk.evaluation.accuracy.catalogue import SUITES
from hauberk.evaluation.accuracy.question import Accuracy, Points
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.recorded import RecordedThreat
from hauberk.evaluation.minmax.question import OnePerturbation
from hauberk.evaluation.radii.question import LeastDistances
from hauberk.evaluation.transfer import TransferTable
from hauberk.evaluation.universal.question import ForAll
from hauberk.solvers.fmn import FMN
from hauberk.store.files import plain
from hauberk.transforms import FlipH


def test_every_question_survives_its_manifest(run):
    ledger, _ = run
    kind = Question.kinds[ledger.manifest["kind"]]
    again = kind.of(ledger.manifest)
    for name, value in plain(again.facts()).items():
        assert value == ledger.manifest[name], name
    assert plain(kind.of(plain(again.facts())).facts()) == plain(again.facts())


def test_every_summary_begins_alike(run):
    ledger, _ = run
    summary = ledger.summary()
    assert summary["kind"] == ledger.manifest["kind"]
    assert summary["seed"] == 3
    assert summary["finished"] is True
    assert summary["n"] in (12, 3 * 4)
    assert set(summary["cost"]) == {"forwards", "backwards", "seconds", "judge_forwards"}
    assert summary["cost"]["forwards"] >= 12
    for name in ("hauberk_version", "clean_accuracy", "clean_interval", "manifest_sha256"):
        assert summary[name] is not None
    # Toy threats reach across toy data.
    assert [text for text in summary["warnings"] if "no model can resist that" not in text] == []


def test_every_name_is_documented(run):
    """Columns, tensors and keys of the summary are explained in docs/ledger.md."""
    ledger, _ = run
    if ledger.manifest["kind"] == "noise":
        return
    text = (Path(__file__).parents[3] / "docs" / "ledger.md").read_text(encoding="utf-8")
    names = {name for key in ledger.keys("") for name in ledger.part(key)}
    names |= {name for key in ledger.keys("") for name in ledger.tensors(key)}
    names |= set(ledger.summary())
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_every_suite_rebuilds_from_its_description():
    for suite in SUITES.values():
        question = Accuracy(UNION.parts, suite, Points.UNION)
        again = Accuracy.of(plain(question.facts()))
        assert plain(again.facts()) == plain(question.facts())
        for name, stage in again.suite.stages.items():
            assert stage == suite.stages[name], name


@pytest.mark.parametrize(
    "question",
    [
        Accuracy((hb.Linf(0.1),), SUITES["standard"]),
        LeastDistances.asked([UNION, "l1.5"], budget=200, soften=0.1).bound(3),
        LeastDistances.asked("l2", solver=FMN(steps=7)).bound(3),
        OnePerturbation(hb.Shared(hb.L2(0.3), clip=True), QUICK, group=2, by_class=True, stop=True,
                        objectives={"mean": hb.Average(), "own": hb.MinMax(gamma=float("inf"))}),
        OnePerturbation(hb.Each(hb.Linf(0.1)), QUICK, transforms=(FlipH(),), objectives={}),
        ForAll(hb.L1(2.0), 3, 7, PGD(steps=2), hb.MinMax(gamma=1.0)),
        TransferTable(UNION.parts, (FGSM(), Square(steps=9)), True),
        UnderNoise((0.1, 0.5)),
    ],
    ids=lambda q: type(q).__name__,
)  # fmt: skip
def test_questions_survive_their_facts(question):
    facts = plain(question.facts())
    assert plain(type(question).of(facts).facts()) == facts


def far(x0, x):
    return (x - x0).flatten(1).abs().amax(1)


def test_own_distances_are_given_as_objects(tmp_path):
    """One rule for evaluations and radii."""
    x, y = data()
    threat = hb.Measured(far, 0.3, name="far")
    hb.evaluate(net(), x, y, threat, suite={"pgd": PGD(steps=5)}, out=tmp_path / "e")
    hb.radius(net(), x, y, threat, budget=60, out=tmp_path / "r")
    for folder, objects in (
        ("e", {"far:0.3": threat}),
        ("r", {"far": hb.Measured(far, name="far")}),
    ):
        assert hb.verify(tmp_path / folder, net(), objects=objects).ok
        found = hb.verify(tmp_path / folder, net())
        assert len(found.problems) == 1
        assert "verify it in Python, with objects={'far" in found.problems[0]
    with pytest.raises(hb.InputError, match="not judged"):
        RecordedThreat("far:1").at(x)


class Dimmed(hb.Domain):
    def inputs(self, x, draws, number):
        return 0.8 * x


def dim(x):
    return 0.9 * x


def test_own_domains_and_transforms_are_given_as_objects(tmp_path):
    x, y = data()
    hb.minmax(
        MODELS, x, y, "linf:0.3", transforms=[dim], domains=[Dimmed(name="dimmed")], attack=QUICK,
        out=tmp_path / "r",
    )  # fmt: skip
    objects = {"dim": dim, "dimmed": Dimmed(name="dimmed")}
    assert hb.verify(tmp_path / "r", MODELS, objects=objects).ok
    with pytest.raises(hb.InputError, match=r"objects=\{'dim"):
        hb.verify(tmp_path / "r", MODELS)


def test_models_are_given_by_name_or_in_order(tmp_path):
    x, y = data()
    hb.minmax(MODELS, x, y, "linf:0.3", attack=QUICK, out=tmp_path / "r")
    assert hb.verify(tmp_path / "r", list(MODELS.values())).ok
    assert hb.verify(tmp_path / "r", dict(reversed(MODELS.items()))).ok
    assert not hb.verify(tmp_path / "r", list(reversed(MODELS.values()))).ok
    with pytest.raises(hb.InputError, match=r"2 models \(a, b\) and 1 is given"):
        hb.verify(tmp_path / "r", MODELS["a"])
    with pytest.raises(hb.InputError, match="a model b"):
        hb.verify(tmp_path / "r", {"a": net(), "c": net()})
