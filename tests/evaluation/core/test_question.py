"""Every kind of run: its question rebuilds from the manifest, and its ledger is verified."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers.questions import UnderNoise, under_noise
from safetensors.torch import load_file, save_file
from torch import nn

import hauberk as hb
from hauberk.attacks import APGD, FGSM, PGD, MultiSteepestDescent, Square
from hauberk.evaluation import transfer
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
from hauberk.store.ledger import Ledger
from hauberk.transforms import FlipH, RandomRotate

UNION = hb.Union(hb.Linf(0.1), hb.L2(0.4))


def net(seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)
    model = nn.Sequential(nn.Flatten(), *layers).double()
    with torch.no_grad():  # all classes occur, and small changes matter
        model[3].bias -= model(torch.full((1, 16), 0.5).double())[0]
    return model


MODELS = {"a": net(0), "b": net(1)}


def data(n=12):
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    y = net()(x).argmax(1)
    y[0] = (y[0] + 1) % 3
    return x, y


QUICK = PGD(loss="cw", steps=3)
RUNS = {
    "evaluate": (lambda m, x, y, **o: hb.evaluate(m, x, y, UNION, suite="fast", **o), net()),
    "radius": (lambda m, x, y, **o: hb.radius(m, x, y, ["l2", UNION], budget=60, **o), net()),
    "radius of one": (
        lambda m, x, y, **o: hb.radius(m, x, y, "l1", solver=FMN(steps=9), **o), net(),
    ),
    "minmax": (lambda m, x, y, **o: hb.minmax(m, x, y, "linf:0.2", attack=QUICK, **o), MODELS),
    "minmax groups": (
        lambda m, x, y, **o: hb.minmax(m, x, y, "linf:0.9", group=2, attack=QUICK, **o), net(),
    ),
    "minmax each": (lambda m, x, y, **o: hb.minmax(m, x, y, UNION, attack=QUICK, **o), MODELS),
    "minmax transforms": (
        lambda m, x, y, **o: hb.minmax(
            m, x, y, "linf:0.3", transforms=[FlipH(), RandomRotate(20)], judge_draws=2,
            attack=QUICK, **o,
        ),
        net(),
    ),
    "minmax msd": (
        lambda m, x, y, **o: hb.minmax(
            m, x, y, UNION, attack=MultiSteepestDescent(loss="cw", steps=3), **o
        ),
        MODELS,
    ),
    "universal": (
        lambda m, x, y, **o: hb.universal(m, x, y, "linf:0.3", epochs=2, minibatch=5, **o), net(),
    ),
    "transfer": (
        lambda m, x, y, **o: transfer(m, x, y, UNION, [FGSM(), APGD(steps=3)], **o), MODELS,
    ),
    "noise": (lambda m, x, y, **o: under_noise(m, x, y, (0.95,), **o), net()),
}  # fmt: skip


@pytest.fixture(scope="module", params=RUNS)
def made(request, tmp_path_factory):
    """The folder of a run, and its models."""
    function, models = RUNS[request.param]
    out = tmp_path_factory.mktemp("runs") / "r"
    found = function(models, *data(), out=out, block=5, seed=3)
    assert found.path == out
    return out, models


@pytest.fixture
def run(made, tmp_path):
    """A ledger that may be changed, and its models."""
    folder, models = made
    shutil.copytree(folder, tmp_path / "r")
    return Ledger.open(tmp_path / "r"), models


@dataclass
class Set:
    images: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor


def test_every_run_is_verified(run):
    ledger, models = run
    x, y = data()
    found = hb.verify(ledger.path, models, data=Set(x, y, torch.arange(12)))
    assert found.ok, str(found)
    assert found.finished
    assert found.points == found.confirmed > 0
    assert "confirmed, 0 refuted" in str(found)


def test_every_run_of_another_model_is_refuted(run):
    ledger, models = run
    other = net(9) if not isinstance(models, dict) else {"a": net(8), "b": net(9)}
    found = hb.verify(ledger.path, other)
    assert not found.ok
    names = ledger.manifest["model_draws"]
    told = [f"the weights of model {name} differ from the run's" for name in names]
    assert [line.partition(":")[0] for line in found.problems[: len(names)]] == told


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
    assert summary["warnings"] == []


COMMON = {"id", "label", "threat", "task", "claimed", "broken", "margin", "distance", "forwards",
          "backwards", "row", "seconds"}  # fmt: skip


def test_every_part_has_the_common_columns(run):
    ledger, _ = run
    for key in ledger.keys(""):
        part = ledger.part(key)
        if key.startswith("clean-"):
            assert {"id", "label", "margin", "correct", "seconds"} <= set(part)
            assert len(ledger.tensors(key)["originals"]) == len(part["id"])
        elif not key.startswith("stream-"):
            assert set(part) >= COMMON, key
            rows = part["row"][part["row"] >= 0]
            assert sorted(rows) == [*range(len(ledger.tensors(key)["points"]))]


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


def test_a_changed_point_is_found_in_every_run(run):
    ledger, models = run
    for key in ledger.keys(""):
        tensors = ledger.tensors(key)
        if len(tensors.get("points", ())):
            tensors["points"][0] = 0.5
            save_file(tensors, ledger.path / "parts" / f"{key}.safetensors")
            break
    assert load_file(ledger.path / "parts" / f"{key}.safetensors")["points"][0].unique() == 0.5
    assert not hb.verify(ledger.path, models).ok


def test_a_changed_row_is_found_in_every_run(run):
    ledger, models = run
    key = next(k for k in ledger.keys("") if len(ledger.tensors(k).get("points", ())))
    file = ledger.path / "parts" / f"{key}.parquet"
    table = pq.ParquetFile(file).read()
    values = np.array(table.column("distance").to_pylist())
    values[ledger.part(key)["broken"].astype(bool)] += 0.01
    values += 0.01
    place = table.column_names.index("distance")
    pq.write_table(table.set_column(place, "distance", pa.array(values)), file)
    assert "another distance" in str(hb.verify(ledger.path, models))


def test_a_changed_manifest_is_found_in_every_run(run):
    ledger, models = run
    file = ledger.path / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {"labels_crc": 7}))
    assert "manifest.json was changed" in str(hb.verify(ledger.path, models))


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
