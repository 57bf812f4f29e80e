import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import hauberk as hb
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.summary import summarise
from hauberk.evaluation.core.identity import fingerprint
from hauberk.evaluation.core.verify import verify
from hauberk.store.ledger import Ledger
from hauberk.victims.victim import Victim

NAN = float("nan")


@pytest.fixture
def model():
    """Decides for class 1 where the features sum to more than 1."""
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
        linear.bias.copy_(torch.tensor([1.0, -1.0]))
    return linear


X = torch.tensor([[0.375, 0.5], [0.25, 0.25], [0.75, 0.75], [0.5, 0.625], [0.25, 0.25]])
Y = torch.tensor([0, 0, 1, 1, 1])
# What linf:0.25 breaks, by attacks "a" and "b"; example 4 is wrong from the start.
POINTS = {"a": {0: [0.5, 0.75]}, "b": {3: [0.375, 0.5]}}


def margins(x, y):
    m = 2 * (1 - x.double().sum(1))
    return torch.where(y == 0, m, -m).numpy()


def attack_rows(attack, alive):
    points = POINTS[attack]
    n = len(X)
    rows = {
        "id": np.arange(n) + 10, "label": Y.numpy(), "threat": ["linf:0.25"] * n,
        "task": [attack] * n, "attacked": np.isin(np.arange(n), alive),
        "claimed": np.isin(np.arange(n), [*points]), "broken": np.isin(np.arange(n), [*points]),
        "margin": np.where(np.isin(np.arange(n), alive), 0.5, NAN), "distance": np.full(n, NAN),
        "attempt": np.zeros(n, dtype=np.int64), "forwards": np.full(n, 4),
        "backwards": np.full(n, 3), "row": np.full(n, -1),
    }  # fmt: skip
    x = torch.tensor([*points.values()])
    for at, i in enumerate(points):
        rows["row"][i] = at
        rows["margin"][i] = margins(x[at : at + 1], Y[i : i + 1])[0]
        rows["distance"][i] = (x[at] - X[i]).abs().max().item()
    return rows, {"points": x}


def make(path, finished=True, attacks="ab"):
    manifest = {
        "kind": "accuracy", "hauberk_version": "1", "threats": ["linf:0.25"], "seed": 0,
        "n": len(X), "box": [0.0, 1.0], "block": 1000, "union_only": False, "all_attacks": False,
        "suite": "s", "suite_version": 0, "attacks": {a: {"attack": "PGD"} for a in "ab"},
        "schedule": [{"threat": "linf:0.25", "attack": a} for a in "ab"],
    }  # fmt: skip
    ledger = Ledger.create(path, manifest)
    now = margins(X, Y)
    clean = {
        "id": np.arange(len(X)) + 10, "label": Y.numpy(), "margin": now, "correct": now > 0,
        "prediction": (X.sum(1) > 1).long().numpy(),
    }  # fmt: skip
    ledger.write("clean-00000", clean, {"originals": X})
    for k, attack in enumerate(attacks):
        rows, tensors = attack_rows(attack, [[0, 1, 2, 3], [1, 2, 3]][k])
        ledger.write(f"attack-00000-{k:03d}", rows, tensors)
    if finished:
        rows = ledger.rows("clean-"), ledger.rows("attack-")
        ledger.write_summary(summarise(*rows, ledger.manifest))
    return ledger


@pytest.fixture
def ledger(tmp_path):
    return make(tmp_path / "x")


def change(ledger, key, column, row, value):
    file = ledger.path / "parts" / f"{key}.parquet"
    table = pq.ParquetFile(file).read()
    values = table.column(column).to_pylist()
    values[row] = value
    i = table.column_names.index(column)
    pq.write_table(table.set_column(i, column, pa.array(values)), file)


def change_tensor(ledger, key, name, edit):
    file = ledger.path / "parts" / f"{key}.safetensors"
    tensors = load_file(file)
    tensors[name] = edit(tensors[name].clone())
    save_file(tensors, file)


def change_json(ledger, name, edit):
    file = ledger.path / name
    value = json.loads(file.read_text())
    edit(value)
    file.write_text(json.dumps(value))


def test_an_honest_run_is_confirmed(ledger, model):
    data = SimpleNamespace(images=X.flip(0), labels=Y.flip(0), ids=torch.arange(5).flip(0) + 10)
    for given in (None, data):
        for size in (None, 1, 2):
            found = verify(ledger.path, model, data=given, batch_size=size)
            assert found.ok, str(found)
            assert (found.points, found.confirmed, found.finished) == (2, 2, True)
    assert str(found) == "2 broken points: 2 confirmed, 0 refuted"
    assert ledger.summary()["union_accuracy"] == 0.4


def test_an_unfinished_run_verifies_what_is_there(tmp_path, model):
    found = verify(make(tmp_path / "x", finished=False, attacks="a").path, model)
    assert found.ok
    assert not found.finished
    assert found.confirmed == 1
    assert "unfinished" in str(found)


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ([0.4, 0.4], "decides for its label"),
        ([0.75, 0.75], "outside linf:0.25: its distance is 0.375"),
        ([1.1, 0.6], "leaves the box [0, 1]"),
        ([NAN, 0.75], "leaves the box"),
    ],
)
def test_a_tampered_point_is_refuted(ledger, model, point, reason):
    change_tensor(ledger, "attack-00000-000", "points", lambda p: torch.tensor([point]))
    found = verify(ledger.path, model)
    assert not found.ok
    assert (found.points, found.confirmed, len(found.refuted)) == (2, 1, 1)
    refuted = found.refuted[0]
    assert (refuted.id, refuted.threat, refuted.attack) == (10, "linf:0.25", "a")
    assert reason in refuted.reason
    assert reason in str(found)


@pytest.mark.parametrize(
    ("key", "column", "row", "value", "told"),
    [
        ("clean-00000", "label", 1, 1, "decided otherwise"),
        ("clean-00000", "label", 1, 99, "label that is no class of the model"),
        ("clean-00000", "label", 0, -1, "label that is no class of the model"),
        ("clean-00000", "correct", 4, True, "example 14 is decided otherwise"),
        ("clean-00000", "margin", 1, 9.0, "another margin"),
        ("clean-00000", "prediction", 1, 1, "another prediction"),
        ("clean-00000", "prediction", 1, 7, "another prediction"),
        ("clean-00000", "id", 1, 99, "in no clean part"),
        ("attack-00000-000", "label", 0, 1, "another label than in its clean part"),
        ("attack-00000-000", "threat", 0, "linf:0.5", "not recorded as a under linf:0.25"),
        ("attack-00000-000", "task", 1, "b", "not recorded as a"),
        ("attack-00000-000", "broken", 0, False, "rows and its 1 points do not match"),
        ("attack-00000-000", "broken", 1, True, "rows and its 1 points do not match"),
        ("attack-00000-000", "row", 0, 5, "rows and its 1 points do not match"),
        ("attack-00000-000", "distance", 0, 0.01, "another distance"),
        ("attack-00000-000", "margin", 0, -3.0, "another margin"),
        # Another device may change a margin by a thousandth, and no distance by a millionth.
        ("attack-00000-000", "distance", 0, 0.25 * (1 + 1e-5), "another distance"),
        ("attack-00000-000", "margin", 0, -0.495, "another margin"),
        ("clean-00000", "margin", 1, 1.01, "another margin"),
        ("attack-00000-000", "forwards", 0, 1, "cost.forwards is 45, the parts give 42"),
    ],
)
def test_a_tampered_row_is_found(ledger, model, key, column, row, value, told):
    change(ledger, key, column, row, value)
    found = verify(ledger.path, model)
    assert not found.ok
    assert told in str(found)


def test_a_tampered_original_is_found_with_the_data(ledger, model):
    data = SimpleNamespace(images=X, labels=Y, ids=torch.arange(5) + 10)
    change_tensor(ledger, "clean-00000", "originals", lambda x: x + 0.001)
    change_tensor(ledger, "attack-00000-000", "points", lambda x: x + 0.001)
    found = verify(ledger.path, model, data=data)
    assert "example 10 (one of 5) is not the data's input" in str(found)
    found = verify(ledger.path, model, data=SimpleNamespace(images=X, labels=1 - Y, ids=data.ids))
    assert "another label than in the data" in str(found)
    found = verify(ledger.path, model, data=SimpleNamespace(images=X, labels=Y, ids=data.ids + 1))
    assert "example 10 is not in the data" in str(found)
    found = verify(
        ledger.path, model, data=SimpleNamespace(images=X[:, None], labels=Y, ids=data.ids)
    )
    assert "same data set?" in str(found)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(seed=1),
        lambda m: m.update(box=[0.0, 2.0]),
        lambda m: m.update(threats=["linf:0.5"]),
        lambda m: m.update(threats=["linf:0.5"], schedule=[{"threat": "linf:0.5", "attack": "a"}]),
        lambda m: m["schedule"].pop(),
        lambda m: m.update(n=4),
        lambda m: m.update(weights="other.safetensors"),
    ],
)
def test_a_tampered_manifest_is_found(ledger, model, edit):
    change_json(ledger, "manifest.json", edit)
    assert not verify(ledger.path, model).ok


def test_a_manifest_that_says_nothing_is_an_error(ledger, model):
    for edit, why in (
        (lambda m: m.update(kind="other"), "its kind is 'other'"),
        (lambda m: m.update(kind="accuracy", attacks={"a": {"attack": "PGD", "when": 3}}), "when"),
        (lambda m: (m.update(attacks={"a": {"attack": "PGD"}}), m.pop("box")), "lacks 'box'"),
    ):
        change_json(ledger, "manifest.json", edit)
        with pytest.raises(InputError, match=why):
            verify(ledger.path, model)
    with pytest.raises(InputError, match="does not exist"):
        verify(ledger.path / "nowhere", model)


def test_a_tampered_summary_is_found(ledger, model):
    change_json(ledger, "summary.json", lambda s: s.update(union_accuracy=0.6, extra="fine"))
    found = verify(ledger.path, model)
    assert found.confirmed == 2
    assert len(found.problems) == 1
    assert "union_accuracy is 0.6, the parts give 0.4" in found.problems[0]
    change_json(ledger, "summary.json", lambda s: s["threats"].update({"l2:9": {"accuracy": 1.0}}))
    assert "threats.l2:9" in str(verify(ledger.path, model))


def test_lost_and_corrupt_parts_are_found(ledger, model):
    parts = ledger.path / "parts"
    (parts / "attack-00000-000.safetensors").write_bytes(b"x")
    found = verify(ledger.path, model)
    assert "attack-00000-000.safetensors cannot be read" in str(found)
    assert found.confirmed == 1
    for file in parts.glob("attack-00000-000.*"):
        file.unlink()
    assert "finished is true, the parts give false" in str(verify(ledger.path, model))
    for file in parts.glob("clean-*"):
        file.unlink()
    found = verify(ledger.path, model)
    assert not found.ok
    assert "its clean input is missing" in found.refuted[0].reason


def test_another_model_is_noticed(ledger, model):
    with torch.no_grad():
        model.weight.mul_(1.01)
        model.bias.mul_(1.01)
    found = verify(ledger.path, model)
    assert found.confirmed == 2
    assert "another margin than recorded" in str(found)


@pytest.mark.parametrize("what", ["architecture", "weights"])
def test_what_differs_of_a_model_is_named(ledger, model, what):
    same = fingerprint(Victim(model))
    change_json(ledger, "manifest.json", lambda m: m.update(models={"model": same | {what: "0"}}))
    told = f"the {what} of model model differ from the run's"
    assert verify(ledger.path, model).problems[0].startswith(told)
    change_json(ledger, "manifest.json", lambda m: m.update(models={"model": same}))
    assert "of model" not in str(verify(ledger.path, model))


def test_points_within_rounding_are_neither_confirmed_nor_refuted(ledger, model):
    change_tensor(ledger, "attack-00000-000", "points", lambda p: torch.tensor([[0.375, 0.624999]]))
    change(ledger, "attack-00000-000", "margin", 0, -1e-6)
    change(ledger, "attack-00000-000", "distance", 0, 0.124999)
    found = verify(ledger.path, model)
    assert (found.points, found.confirmed) == (2, 1)
    assert [p.id for p in found.unsettled] == [10]
    assert not found.refuted
    assert "1 within rounding" in str(found)


def test_points_near_the_boundary_now_that_were_recorded_far_from_it_are_refuted(ledger, model):
    change_tensor(ledger, "attack-00000-000", "points", lambda p: torch.tensor([[0.375, 0.624999]]))
    change(ledger, "attack-00000-000", "distance", 0, 0.124999)
    found = verify(ledger.path, model)
    assert [p.id for p in found.refuted] == [10]
    assert not found.unsettled


def test_points_within_rounding_but_outside_the_threat_are_refuted(ledger, model):
    change_tensor(ledger, "attack-00000-000", "points", lambda p: torch.tensor([[0.05, 0.949999]]))
    change(ledger, "attack-00000-000", "margin", 0, -1e-6)
    found = verify(ledger.path, model)
    assert [p.id for p in found.refuted] == [10]
    assert "outside linf:0.25" in found.refuted[0].reason
    assert not found.unsettled


def test_a_box_per_feature_is_read(tmp_path, model):
    ledger = make(tmp_path / "x")
    change_json(ledger, "manifest.json", lambda m: m.update(box=[["-inf", 0], [1.0, 0.7]]))
    found = verify(ledger.path, model)
    assert len(found.refuted) == 1
    assert "leaves the box" in found.refuted[0].reason
    assert "manifest.json was changed" in str(found)


def test_what_must_be_given_as_an_object_is_said_plainly(tmp_path):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    x = torch.rand(4, 1, 2, 2)
    hb.minmax(
        model, x, model(x).argmax(1), "linf:0.1", attack=hb.attacks.PGD(loss="cw", steps=1),
        transforms=[lambda x: x.clamp(0, 1)], out=tmp_path / "r",
    )  # fmt: skip
    with pytest.raises(InputError, match="objects=") as refused:
        verify(tmp_path / "r", model)
    assert "restore it from a copy" not in str(refused.value)
