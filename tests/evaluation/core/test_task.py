"""What every task writes, and what it refuses before."""

import pytest
from helpers.runs import data, net

import hauberk as hb

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


def test_tasks_are_checked_before_anything_is_written(tmp_path):
    x, y = data()
    with pytest.raises(hb.InputError):
        hb.evaluate(
            net(), x, y, [hb.Linf(0.1), hb.L2(0.1)], out=tmp_path / "r",
            suite={"fine": hb.attacks.FGSM(), "bad": hb.attacks.LPA()},
        )  # fmt: skip
    assert not (tmp_path / "r").exists()
