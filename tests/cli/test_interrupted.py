"""Ctrl-C: the one line says what this run keeps, and no more."""

import pytest

from hauberk.cli.main import main
from hauberk.evaluation.core import run as core

RUN = ["evaluate", "--model", "net.py:make", "--weights", "net.safetensors", "--data",
       "digits:test", "--limit", "8", "--suite", "fast", "--threat", "linf:0.1",
       "--threat", "l2:0.3"]  # fmt: skip


@pytest.fixture
def stop_after(monkeypatch):
    """Ctrl-C once so many tasks are done."""

    do = core.do

    def stop(many):
        left = [many]

        def counted(*args):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return do(*args)

        monkeypatch.setattr(core, "do", counted)

    return stop


def interrupted(capsys, *words):
    assert main([*RUN, *words]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("hauberk: interrupted; ")
    return last.removeprefix("hauberk: interrupted; ")


def test_with_a_folder_the_parts_are_counted_and_the_run_goes_on(place, stop_after, capsys):
    stop_after(1)
    said = interrupted(capsys, "--out", "runs/a")
    parts = len([*(place / "runs/a/parts").glob("*.parquet")])
    assert parts == 2  # the clean part as well
    assert said == "2 finished parts kept in runs/a: go on with --resume"
    stop_after(0)
    assert interrupted(capsys, "--out", "runs/a", "--resume") == said
    stop_after(99)
    assert main([*RUN, "--out", "runs/a", "--resume"]) == 0


def test_without_a_folder_nothing_is_kept(place, stop_after, capsys):
    stop_after(1)
    assert interrupted(capsys) == "nothing of this run is kept, since there is no --out"


def test_before_the_first_part_nothing_is_kept_whatever_the_folder_holds(
    place, stop_after, capsys, monkeypatch
):  # fmt: skip
    assert main([*RUN, "--out", "runs/b"]) == 0

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hauberk.models.loading.load_model", stop)
    for out in ("runs/b", "runs/new"):
        said = interrupted(capsys, "--out", out)
        assert said == "nothing of this run is kept: it had finished no part yet"


def test_commands_that_cannot_be_continued_say_so(place, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hauberk.models.loading.load_model", stop)
    words = ["gallery", *RUN[1:5], "--data", "digits:test", "--threat", "linf:0.1"]
    for more, said in (
        ([], "nothing of this run is kept"),
        (["--out", "x.png"], "nothing of this run is kept"),
        (["--out", "."], "what was written so far is in .; it cannot be continued: run it again"),
    ):  # fmt: skip
        assert main([*words, *more]) == 1
        assert capsys.readouterr().err.strip().endswith(f"interrupted; {said}")
