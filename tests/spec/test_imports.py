"""Objects named as text: what is found, and every refusal in one line."""

import sys

import pytest

from hauberk.errors import InputError
from hauberk.spec.imports import call, import_object, one_line


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file of the user's own, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_nets.py").write_text(
        "class Box:\n    size = 3\n\ndef make():\n    return 7\n\n"
        "def needs(x):\n    return x\n\ndef fails():\n    raise RuntimeError('no\\nluck')\n"
    )
    (tmp_path / "broken_nets.py").write_text("import nothing_of_the_kind\n")
    return tmp_path


def test_files_modules_and_attributes_of_attributes(own):
    assert import_object("own_nets.py:make", "model")() == 7
    assert import_object("own_nets:Box.size", "model") == 3
    assert import_object("math:pi", "number") == pytest.approx(3.14159, abs=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("make", "names nothing"),
        ("own_nets.py:", "names nothing"),
        ("gone.py:make", "gone.py does not exist"),
        ("own_nets.py:mike", "did you mean make"),
        ("gone_nets:make", "no module named 'gone_nets'"),
        ("not a module:make", "is no module name"),
        ("broken_nets.py:make", "importing broken_nets.py failed"),
    ],
)
def test_what_is_not_there(own, spec, message):
    with pytest.raises(InputError, match=message) as caught:
        import_object(spec, "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("needs", "without arguments"),
        ("fails", r"failed: RuntimeError: no luck \(own_nets.py, line 11\)"),
        ("Box.size", "is a int, which cannot be called"),
    ],
)
def test_what_cannot_be_called(own, name, message):
    spec = f"own_nets.py:{name}"
    with pytest.raises(InputError, match=message):
        call(import_object(spec, "model"), spec, "model")


def test_errors_are_one_short_line():
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 999))) < 230
