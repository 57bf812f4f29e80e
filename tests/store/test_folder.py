import json

import pytest

from hauberk import InputError
from hauberk.store.folder import Folder
from hauberk.store.ledger import MemoryLedger, joined, places


def take(path, settings, **options):
    return Folder.take(path, settings, "run.json", **options)


def test_a_new_folder_holds_its_settings(tmp_path):
    folder = take(tmp_path / "a" / "b", {"seed": 1, "sizes": (1, 2)})
    assert folder.settings == {"seed": 1, "sizes": [1, 2]}
    assert json.loads((tmp_path / "a" / "b" / "run.json").read_text()) == folder.settings


def test_a_taken_folder_is_resumed_only_when_asked(tmp_path):
    take(tmp_path, {"seed": 1}).close()
    with pytest.raises(InputError, match="already holds another run"):
        take(tmp_path, {"seed": 1})
    assert take(tmp_path, {"seed": 1}, resume=True).settings == {"seed": 1}


def test_other_settings_are_named_in_one_line(tmp_path):
    take(tmp_path, {"seed": 1, "model": {"weights": "a"}}).close()
    with pytest.raises(InputError, match=r'model\.weights is "b" here but "a" there') as told:
        take(tmp_path, {"seed": 1, "model": {"weights": "b"}}, resume=True)
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match="seed"):
        take(tmp_path, {"seed": 2, "model": {"weights": "a"}}, resume=True)


def test_volatile_settings_may_differ_and_the_first_are_kept(tmp_path):
    take(tmp_path, {"seed": 1, "device": "cpu"}).close()
    again = take(tmp_path, {"seed": 1, "device": "cuda"}, resume=True, volatile={"device"})
    assert again.settings["device"] == "cpu"


def test_patches_of_the_version_may_differ(tmp_path):
    take(tmp_path, {"hauberk_version": "1.2.3"}).close()
    take(tmp_path, {"hauberk_version": "1.2.9"}, resume=True).close()
    with pytest.raises(InputError, match="hauberk_version"):
        take(tmp_path, {"hauberk_version": "1.3.0"}, resume=True)


def test_a_refused_folder_is_free_again(tmp_path):
    take(tmp_path, {"seed": 1}).close()
    with pytest.raises(InputError):
        take(tmp_path, {"seed": 2}, resume=True)
    take(tmp_path, {"seed": 1}, resume=True)


def test_files_and_foreign_folders_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        take(tmp_path / "file", {})
    with pytest.raises(InputError, match="no run of hauberk"):
        take(tmp_path, {})


def test_what_a_killed_run_left_is_removed(tmp_path):
    take(tmp_path, {}).close()
    (tmp_path / "parts").mkdir()
    left = [tmp_path / ".run.json.7.tmp", tmp_path / "parts" / ".a.parquet.7.tmp"]
    for file in left:
        file.write_text("half")
    take(tmp_path, {}, resume=True)
    assert not any(file.exists() for file in left)


def test_places_of_ids():
    assert places([7, 3, 5], [5, 7, 6, 9, 1]).tolist() == [2, 0, -1, -1, -1]
    assert places([], [1]).tolist() == [-1]
    assert places([1, 2], []).tolist() == []


def test_empty_columns_add_nothing():
    found = joined([{"a": []}, {"a": ["x"]}, {"a": ["y", "z"]}])
    assert found["a"].tolist() == ["x", "y", "z"]
    assert joined([]) == {}


def test_memory_keeps_parts_and_summary():
    ledger = MemoryLedger({"kind": "toy"})
    assert ledger.summary() is None
    ledger.write("a-1", {"id": [1]})
    ledger.write("a-0", {"id": [0]})
    ledger.write_summary({"n": 2})
    assert ledger.rows("a-")["id"].tolist() == [0, 1]
    assert (ledger.has("a-0"), ledger.has("b"), ledger.summary()) == (True, False, {"n": 2})
