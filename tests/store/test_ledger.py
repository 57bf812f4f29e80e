import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from hauberk.errors import InputError
from hauberk.store.ledger import Ledger

MANIFEST = {"threats": ["linf:0.3"], "seed": 0, "box": [0.0, 1.0], "started": "now", "n": 3}

ROWS = {
    "id": np.arange(3),
    "margin": np.array([0.5, np.nan, -1.0]),
    "correct": np.array([True, False, True]),
    "threat": ["linf:0.3", "l2:1", "l1:é"],
}


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create(tmp_path / "runs" / "x", MANIFEST)


def test_rows_and_tensors_come_back(ledger):
    tensors = {"a": torch.randn(2, 3)[:, :2], "b": torch.zeros(0, 4, dtype=torch.float64)}
    ledger.write("clean-00000", ROWS, tensors)
    part = Ledger.open(ledger.path).part("clean-00000")
    for name, values in ROWS.items():
        np.testing.assert_array_equal(part[name], values)
    assert [part[k].dtype.kind for k in ROWS] == ["i", "f", "b", "U"]
    back = ledger.tensors("clean-00000")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_tensors_of_one_storage_can_be_kept_together(ledger):
    x = torch.arange(6.0)
    ledger.write("p", {"id": [0]}, {"a": x[:3], "b": x[:3], "c": x.requires_grad_()})
    assert torch.equal(ledger.tensors("p")["b"], torch.arange(3.0))


def test_keys_has_and_concatenation(ledger):
    ledger.write("clean-00001", {"id": [2, 3], "threat": ["long-name", "b"]})
    ledger.write("clean-00000", {"id": [0], "threat": ["a"]})
    ledger.write("clean-00002", {"id": [], "threat": []})
    ledger.write("attack-00000-000", {"id": [9]})
    assert ledger.keys("clean-") == ["clean-00000", "clean-00001", "clean-00002"]
    assert len(ledger.keys()) == 4
    assert ledger.has("clean-00000")
    assert not ledger.has("clean-00009")
    rows = ledger.rows("clean-")
    assert rows["id"].tolist() == [0, 2, 3]
    assert rows["id"].dtype == np.int64
    assert rows["threat"].tolist() == ["a", "long-name", "b"]
    assert ledger.rows("nothing-") == {}
    assert ledger.tensors("clean-00000") == {}


def test_a_part_is_never_overwritten(ledger):
    ledger.write("p", {"id": [1]})
    with pytest.raises(InputError, match="already holds part p"):
        ledger.write("p", {"id": [2]})


@pytest.mark.parametrize("key", ["../x", "", "a/b", ".hidden", "a.b"])
def test_keys_are_file_names(ledger, key):
    with pytest.raises(ValueError, match="cannot name a part"):
        ledger.write(key, {"id": [1]})


def test_columns_of_unequal_length_are_refused_and_leave_nothing(ledger):
    with pytest.raises(ValueError):
        ledger.write("p", {"id": [1], "margin": [0.0, 1.0]})
    assert ledger.keys() == []


def test_a_run_is_not_overwritten(ledger):
    with pytest.raises(InputError, match=r"already holds another run.*--out.*--resume"):
        Ledger.create(ledger.path, MANIFEST)


def test_resume_keeps_the_parts_and_the_manifest(ledger):
    ledger.write("p", {"id": [1]})
    (ledger.path / "parts" / ".p2.parquet.12.tmp").write_bytes(b"half")
    (ledger.path / ".summary.json.12.tmp").write_bytes(b"half")
    again = Ledger.create(ledger.path, {**MANIFEST, "started": "later"}, resume=True)
    assert again.keys() == ["p"]
    assert again.manifest["started"] == "now"
    assert not [*ledger.path.rglob("*.tmp")]


def test_resume_of_nothing_creates(tmp_path):
    assert Ledger.create(tmp_path / "new", MANIFEST, resume=True).keys() == []


def test_resume_names_each_differing_setting(ledger):
    other = {**MANIFEST, "seed": 1, "box": [0.0, 2.0], "extra": {"a": 1}}
    with pytest.raises(InputError) as caught:
        Ledger.create(ledger.path, other, resume=True)
    for told in ("seed is 1 here but 0 there", "box[1] is 2.0 here but 1.0 there", "extra is"):
        assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_a_patch_of_hauberk_may_differ_on_resuming(tmp_path):
    first = Ledger.create(tmp_path / "x", {**MANIFEST, "hauberk_version": "0.1.0"})
    again = {**MANIFEST, "hauberk_version": "0.1.7"}
    assert Ledger.create(first.path, again, resume=True).manifest["hauberk_version"] == "0.1.0"
    with pytest.raises(InputError, match=r'version is "0\.2\.0" here but "0\.1\.0" there'):
        Ledger.create(first.path, {**MANIFEST, "hauberk_version": "0.2.0"}, resume=True)


HOLD = """
import json, sys, time
from hauberk.store.ledger import Ledger
ledger = Ledger.create(sys.argv[1], json.loads(sys.argv[2]), resume=True)
print("held", flush=True)
time.sleep(60)
"""


def test_two_processes_cannot_write_to_one_ledger(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "x"
    command = [sys.executable, "-c", HOLD, str(path), json.dumps(MANIFEST)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(InputError, match="another process is writing to"):
                Ledger.create(path, MANIFEST, resume=True)
            assert Ledger.open(path).manifest == MANIFEST  # reading stays possible
        finally:
            holder.kill()
    Ledger.create(path, MANIFEST, resume=True).write("p", {"id": [1]})


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    for resume in (False, True):
        with pytest.raises(InputError, match="no run of hauberk"):
            Ledger.create(tmp_path, MANIFEST, resume=resume)
    with pytest.raises(InputError, match="is a file"):
        Ledger.create(tmp_path / "precious.txt", MANIFEST)
    with pytest.raises(InputError, match="cannot write"):
        Ledger.create(tmp_path / "precious.txt" / "below", MANIFEST)


def test_a_run_killed_before_its_manifest_can_start_again(tmp_path):
    (tmp_path / ".manifest.json.7.tmp").write_bytes(b"{")
    assert Ledger.create(tmp_path, MANIFEST).manifest["seed"] == 0


def test_open_says_what_is_wrong(tmp_path, ledger):
    with pytest.raises(InputError, match="does not exist"):
        Ledger.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no manifest\.json"):
        Ledger.open(tmp_path)
    for text in ("{", "[1]", "\x00"):
        (ledger.path / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"manifest\.json cannot be read"):
            Ledger.open(ledger.path)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
@pytest.mark.parametrize("kind", ["parquet", "safetensors"])
def test_a_corrupt_part_is_named(ledger, kind, damage):
    ledger.write("p", {"id": np.arange(1000)}, {"x": torch.zeros(10)})
    file = ledger.path / "parts" / f"p.{kind}"
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[6 if kind == "parquet" else 0] ^= 0xFF
        data[40] ^= 0xFF
    file.write_bytes({"truncate": data[: len(data) // 2], "flip": data, "empty": b""}[damage])
    with pytest.raises(InputError, match=rf"p\.{kind} cannot be read .*delete .*p\.\*"):
        ledger.rows() if kind == "parquet" else ledger.tensors("p")


def test_lost_tensors_are_noticed(ledger):
    ledger.write("p", {"id": [1]}, {"x": torch.zeros(1)})
    (ledger.path / "parts" / "p.safetensors").unlink()
    with pytest.raises(InputError, match=r"p\.safetensors"):
        ledger.tensors("p")
    with pytest.raises(InputError, match="no part q"):
        ledger.part("q")


def test_parts_with_other_columns_are_named(ledger):
    ledger.write("p0", {"id": [1]})
    ledger.write("p1", {"id": [1], "more": [2]})
    with pytest.raises(InputError, match=r"p1\.parquet has other columns"):
        ledger.rows("p")


def test_summary_is_strict_json(ledger):
    assert ledger.summary() is None
    ledger.write_summary(
        {"a": float("nan"), "b": np.float64(0.5), "c": (1, np.int64(2)), "d": None}
    )
    ledger.write_summary({**ledger.summary(), "e": np.bool_(True)})
    text = (ledger.path / "summary.json").read_text()
    assert json.loads(text) == {"a": None, "b": 0.5, "c": [1, 2], "d": None, "e": True}
    assert text.startswith('{\n  "a": null')
    (ledger.path / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json cannot be read"):
        ledger.summary()


def test_an_infinite_box_survives(tmp_path):
    Ledger.create(tmp_path / "x", {"box": (-np.inf, torch.tensor([1.0, np.inf]))})
    assert Ledger.open(tmp_path / "x").manifest["box"] == ["-inf", [1.0, "inf"]]


def test_a_full_disk_is_told_and_leaves_no_trace(ledger, monkeypatch):
    ledger.write("p0", {"id": [1]})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left.*before \(1\) are kept.*--resume"):
            ledger.write("p1", {"id": [1]}, {"x": torch.zeros(3)})
        with pytest.raises(InputError, match=r"summary\.json.*No space left"):
            ledger.write_summary({})
    assert ledger.keys() == ["p0"]
    assert not [*ledger.path.rglob("*.tmp")]
    ledger.write("p1", {"id": [1]}, {"x": torch.zeros(3)})


WRITER = """
import sys, numpy as np, torch
from hauberk.store.ledger import Ledger
ledger = Ledger.create(sys.argv[1], {"seed": 0}, resume=True)
first = len(ledger.keys())
for i in range(first, first + 100000):
    rows = {"id": np.full(2000, i), "x": np.random.rand(2000)}
    ledger.write(f"p-{i:06d}", rows, {"points": torch.full((500, 200), float(i))})
    print(i, flush=True)
"""


def test_kill_at_any_moment_leaves_a_valid_ledger(tmp_path):
    path = tmp_path / "x"
    for round_ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        try:
            said = int(writer.stdout.readline())
            time.sleep(0.01 + 0.013 * round_)
        finally:
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read()
            writer.wait()
        said = max([said, *(int(line) for line in rest.splitlines())])
        ledger = Ledger.open(path)
        keys = ledger.keys()
        assert keys == [f"p-{i:06d}" for i in range(len(keys))]
        assert len(keys) > said, "a part that was reported written is lost"
        for i, key in enumerate(keys):
            assert (ledger.part(key)["id"] == i).all()
            assert (ledger.tensors(key)["points"] == i).all()
    again = Ledger.create(path, {"seed": 0}, resume=True)
    assert again.keys() == keys
    assert not [*path.rglob("*.tmp")]
