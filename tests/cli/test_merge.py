"""``hauberk merge`` as a user meets it: jobs that share no network, then one run."""

import shlex

from helpers.ledgers import require_equal

from hauberk.cli.main import main
from hauberk.store.ledger import Ledger

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
DATA = ["--data", "digits:test", "--limit", "12", "--block", "3"]
RADIUS = ["radius", *MODEL, *DATA, "--solver", "fab", "--budget", "60", "--metric", "l2"]
FAST = ["evaluate", *MODEL, *DATA, "--threat", "linf:0.1", "--suite", "fast"]


def test_shards_of_several_jobs_become_one_run(place, capsys):
    assert main([*RADIUS, "--out", "whole", "--eps", "0.2"]) == 0
    for k in ("1", "2"):
        assert main([*RADIUS, "--shard", f"{k}/2", "--out", f"part{k}", "--eps", "0.2"]) == 0
    shown = capsys.readouterr()
    assert "shard 2/2: these numbers are of 6 of 12 examples" in shown.err
    assert not (place / "part1" / "radii.csv").exists()
    assert main(["merge", "part1", "part2", "--out", "merged"]) == 0
    shown = capsys.readouterr()
    assert "ledger: merged" in shown.out
    assert shown.err == ""
    require_equal("whole", "merged")
    assert (place / "whole/radii.csv").read_text() == (place / "merged/radii.csv").read_text()
    command = Ledger.open("merged").manifest["command"]
    assert command == ["hauberk", *RADIUS, "--eps", "0.2", "--out", "merged"]
    assert main(["verify", "merged", *MODEL, "--data", "digits:test"]) == 0
    assert main([*RADIUS, "--eps", "0.2", "--out", "merged", "--resume"]) == 0


def test_a_floor_is_left_to_the_command_that_is_printed(place, capsys):
    floor = [*FAST, "--floor", "2"]
    for k in ("1", "2"):
        assert main([*floor, f"--shard={k}/2", "--out", k]) == 0
    capsys.readouterr()
    assert main(["merge", "1", "2", "--out", "merged"]) == 0
    said, words = capsys.readouterr().out.strip().splitlines()
    assert "the floor is left" in said
    assert shlex.split(words)[0] == "hauberk"
    assert main(shlex.split(words)[1:]) == 0
    assert main([*floor, "--out", "whole"]) == 0
    require_equal("whole", "merged")


def test_what_cannot_be_merged_says_why_in_one_line(place, capsys):
    assert main([*FAST, "--shard", "1/2", "--out", "a"]) == 0
    capsys.readouterr()
    for words, told in (
        (["merge", "a", "--out", "x"], "shard 2/2 missing"),
        (["merge", "a", "a", "--out", "x"], "shard 1/2 is given twice"),
        (["merge", "a"], "give --out"),
        (["merge", "gone", "--out", "x"], "gone does not exist"),
        ([*FAST, "--shard", "3/2"], "--shard is 3/2: give 1/2 to 2/2"),
        ([*FAST, "--shard", "1/2", "--gap", "digits:train"], "leave --shard out"),
        ([*FAST, "--shard", "9/9"], "there are 4 blocks of examples"),
        ([*FAST, "--devices", "0"], "--devices is 0: give 1 or more"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    assert not (place / "x").exists()


def test_a_dry_run_counts_one_process_and_all_shards(place, capsys):
    assert main([*RADIUS, "--devices", "2", "--shard", "1/2", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "12 examples" in shown
    assert ", in one process, all shards together" in shown
