"""Tables and pictures beside a ledger."""

import json

import pytest

from hauberk.cli.files import leave, write_csv, write_json
from hauberk.errors import InputError


def test_a_table_is_written_and_named(tmp_path, capsys):
    leave(str(tmp_path), lambda folder: [write_csv(folder / "a.csv", ["id", "x"], [(1, 0.5)])])
    assert (tmp_path / "a.csv").read_text() == "id,x\n1,0.5\n"
    out = capsys.readouterr().out.splitlines()
    assert out == [str(tmp_path / "a.csv"), f"ledger: {tmp_path}"]


def test_nothing_is_written_without_a_folder(capsys):
    leave(None, lambda folder: pytest.fail("called"))
    assert capsys.readouterr().out == ""


def test_a_table_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match="the ledger is kept"):
        leave(str(tmp_path), lambda folder: [write_csv(folder / "a.csv", ["id"], [])])


def test_values_that_json_has_no_number_for(tmp_path):
    values = {"a": [1, 0.5, None, float("nan")], 2: float("inf"), "é": True}
    path = write_json(tmp_path / "a.json", values)
    assert path == tmp_path / "a.json"
    assert json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail) == {
        "a": [1, 0.5, None, None], "2": "inf", "é": True,
    }  # fmt: skip
    assert path.read_bytes().endswith(b"}\n")
