"""Tensors of runs that have no folder: in memory while they are few, in temporary files beyond."""

import gc
import pickle
import tempfile

import pytest
import torch

from hauberk.store.ledger import MemoryLedger
from hauberk.store.tensors import Spool, from_bytes, to_bytes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("hauberk.store.tensors.IN_MEMORY", 100)
    return tmp_path


def files(folder):
    return sorted(path.name for path in folder.rglob("*.safetensors"))


def test_tensors_come_back_to_the_bit():
    tensors = {
        "originals": torch.arange(6).view(2, 3).float() / 255,
        "points": torch.tensor([[0.5, -0.0, torch.nan]]).expand(2, 3),
        "wrong": torch.ones(2, 2, dtype=torch.uint8).t(),
    }
    found = from_bytes(to_bytes(tensors))
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert found[name].numpy().tobytes() == value.contiguous().numpy().tobytes()


def test_what_goes_beyond_the_limit_lies_in_files_until_the_ledger_goes(folder):
    ledger = MemoryLedger({})
    parts = {f"part-{k}": {"points": torch.rand(20)} for k in range(3)}  # 80 bytes each
    for key, tensors in parts.items():
        ledger.write(key, {"id": range(20)}, tensors)
    assert files(folder) == ["part-1.safetensors", "part-2.safetensors"]
    assert ledger.keys() == list(parts)
    for key, tensors in parts.items():
        assert torch.equal(ledger.tensors(key)["points"], tensors["points"])
    again = pickle.loads(pickle.dumps(ledger))
    assert ledger.tensors("part-0")["points"] is parts["part-0"]["points"]
    del ledger
    gc.collect()
    assert list(folder.iterdir()) == []
    assert torch.equal(again.tensors("part-2")["points"], parts["part-2"]["points"])


def test_views_of_what_the_caller_holds_stay_views(folder):
    images, spool = torch.rand(1000, 20), Spool()
    for k in range(10):
        spool.add(f"clean-{k}", {"originals": images[100 * k : 100 * k + 100]})
    assert files(folder) == []
    assert spool.get("clean-3")["originals"].data_ptr() == images[300].data_ptr()


def test_without_room_for_files_memory_has_to_do(folder, monkeypatch):
    def full(prefix):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    spool = Spool()
    spool.add("a", {"points": torch.ones(100)})
    assert torch.equal(spool.get("a")["points"], torch.ones(100))
