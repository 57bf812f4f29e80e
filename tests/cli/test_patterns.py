"""``hauberk patterns`` as a user meets it: words, files, exit codes."""

import pytest

from hauberk.cli.main import main

MODEL = ["--model", "net.py:make", "--weights", "net.safetensors"]
PATTERNS = ["patterns", *MODEL, "--data", "digits:test", "--limit", "12"]


def test_patterns_draw_and_compare(place, capsys):
    words = ["--solver", "fab", "--solver", "ddn", "--budget", "60"]
    words += ["--eps", "l2:4", "--eps", "linf:0.6", "--out", "runs/p"]
    assert main([*PATTERNS, *words]) == 0
    shown = capsys.readouterr().out
    for word in ("sparsity", "fab l2", "fab linf", "ddn l2", "apgd margin l2", "least distance"):
        assert word in shown
    assert "ddn linf" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    for name in ("radii.png", "sparsity_loss.png", "patterns.json"):
        assert (place / "runs/p" / name).exists()
        assert f"runs/p/{name}" in shown


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        # APGD of 50 steps with two losses in two norms, and the budget of three solvers.
        (["--solver", "fab", "--solver", "ddn", "--budget", "60"], 2 * 2 * 101 + 3 * 60),
        # The same, and in each norm one run at each of six sizes and the line search.
        ([], 2 * 2 * 101 + 2 * (6 * 101 + 13)),
    ],
)
def test_dry_run_tells_the_cost_and_writes_nothing(place, capsys, words, passes):
    words = [*words, "--eps", "l2:4", "--eps", "linf:0.6", "--out", "runs/p"]
    assert main([*PATTERNS, *words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "12 examples, l2, linf" in shown
    assert f"at most {passes} passes per example" in shown
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--out"),
        (["--out", "p", "--solver", "magic"], "choose one of"),
        (["--out", "p", "--solver", "ddn", "--eps", "linf:0.3"], "measures in none of linf"),
        (["--out", "p", "--eps", "l0:3"], "one size each"),
        (["--out", "p", "--eps", "l2:1", "--eps", "l2:2"], "one size each"),
        (["--out", "p", "--solver", "fab", "--budget", "1"], "too small"),
    ],
)
def test_bad_patterns_are_one_line_and_exit_code_2(place, capsys, words, message):
    assert main([*PATTERNS, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
