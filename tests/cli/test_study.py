"""What commands that draw share: where files go, what models are called, numbers on disk."""

import json

import pytest

from hauberk.cli.load import NamedModel, names_of
from hauberk.cli.study import PictureOptions, one_threat
from hauberk.errors import InputError


class Picture(PictureOptions):
    def run(self):
        return 0


def test_where_a_picture_goes(tmp_path):
    assert Picture().place("trace") is None
    assert Picture(out=str(tmp_path / "a/b.svg")).place("trace") == tmp_path / "a/b.svg"
    assert (tmp_path / "a").is_dir()
    assert Picture(out=str(tmp_path / "runs")).place("trace") == tmp_path / "runs/trace.png"
    (tmp_path / "v1.5").mkdir()
    assert Picture(out=str(tmp_path / "v1.5")).place("trace") == tmp_path / "v1.5/trace.png"
    with pytest.raises(InputError, match=r"give FILE.png, FILE.svg or a folder"):
        Picture(out=str(tmp_path / "a.pdf")).place("trace")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--out"):
        Picture(out=str(tmp_path / "file/b.png")).place("trace")


def test_numbers_have_six_digits(tmp_path, capsys):
    Picture().leave_numbers(tmp_path / "a.png", {"x": [1 / 3, None, True, 7], "y": (2.0, "z")})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "x": [0.333333, None, True, 7], "y": [2.0, "z"],
    }  # fmt: skip
    assert capsys.readouterr().out.split() == [str(tmp_path / "a.png"), str(tmp_path / "a.json")]
    with pytest.raises(InputError, match="cannot write"):
        Picture().leave_numbers(tmp_path / "none/a.png", {})


def test_models_have_short_names_of_their_own(tmp_path):
    given = [
        ("a:net", "runs/max.safetensors"),
        ("a:net", str(tmp_path / "msd/best.safetensors")),
        ("a:net", str(tmp_path / "avg/last.safetensors")),
        ("a:net", "other/max.npz"),
        ("nets.py:make", None),
        ("a:net", "third/max.npz"),
    ]
    names = names_of([NamedModel(*pair) for pair in given])
    assert names == ["max", "msd", "avg", "max (2)", "make", "max (3)"]


def test_one_threat_is_wanted():
    assert str(one_threat(["l1:10"])) == "l1:10"
    with pytest.raises(InputError, match="several threats"):
        one_threat(["l1:10", "l2:2"])
    with pytest.raises(InputError, match="no threat"):
        one_threat([])
