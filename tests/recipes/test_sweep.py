"""The searches of the recipes: which trainings they are of, and that each can be begun."""

from pathlib import Path

import pytest

from hauberk.cli.main import main
from hauberk.cli.sweep import SweepCommand
from hauberk.evaluation import SUITES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def search(monkeypatch, tmp_path):
    """What the command makes of a file, with the recipes that it names."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)

    def search(name):
        called = []
        monkeypatch.setattr(SweepCommand, "run", lambda self: called.append(self) or 0)
        assert main(["sweep", "--config", f"recipes/sweep/{name}.yaml"]) == 0
        (command,) = called
        trainings = command.trainings()
        command.prepare(trainings)  # refuses what cannot be trained
        return command, [(t.recipe.stem, *t.command.checked()[1:], t) for t in trainings]

    return search


def test_the_search_of_maini_2020(search):
    """Appendix C.2: all combinations of 4, 2 and 3 steps, 15 epochs each, three strategies."""
    command, found = search("maini2020-search")
    steps = {}
    for stem, strategy, options, _ in found:
        assert [str(part) for part in strategy.threats] == ["linf:0.3", "l2:2", "l1:10"]
        assert options.epochs == 15
        attacks = {p.kind: strategy.attack_on(p) for p in strategy.threats}
        if stem.endswith("msd"):
            one = strategy.attack_on(strategy.threat)
            sizes = (one.step_l1 * 10, one.step_l2 * 2, one.step_linf * 0.3)
            assert one.steps == 100
        else:
            l1, l2, linf = (attacks[kind] for kind in ("l1", "l2", "linf"))
            sizes = (l1.step_l1 * 10, l2.step_size, linf.step_size)
            assert (l1.steps, l2.steps, linf.steps, l1.restarts) == (50, 100, 50, 2)
        if stem.endswith("avg"):
            assert strategy.reduce == "sum"
        steps.setdefault(stem.rpartition("-")[2], []).append(tuple(round(s, 9) for s in sizes))
    grid = {(a, b, c) for a in (0.75, 0.8, 1, 2) for b in (0.1, 0.2) for c in (0.01, 0.02, 0.03)}
    for name in ("msd", "max", "avg"):
        assert len(steps[name]) == 24
        assert set(steps[name]) == grid
    assert (command.suite, command.data, command.limit) == ("maini2020-search", "mnist:test", 1000)
    assert command.suite in SUITES
    assert command.threat == ["linf:0.3", "l2:2", "l1:10"]


def test_msd_without_one_threat(search):
    _, found = search("maini2020-without-one")
    threats = [[str(part) for part in strategy.threats] for _, strategy, *_ in found]
    assert threats == [
        ["linf:0.3", "l2:2", "l1:10"], ["l2:2", "l1:10"], ["linf:0.3", "l1:10"],
        ["linf:0.3", "l2:2"],
    ]  # fmt: skip
    assert {(type(s).__name__, s.steps, o.epochs) for _, s, o, _ in found} == {("MSD", 100, 15)}
