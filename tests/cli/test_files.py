"""Tables and pictures beside a ledger."""

import pytest

from hauberk.cli.files import leave, write_csv
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
