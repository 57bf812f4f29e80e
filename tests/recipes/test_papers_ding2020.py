"""The page of Ding et al. 2020: commands of both scales are understood, rows are right."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from hauberk.cli.main import main
from hauberk.cli.radius import RadiusCommand
from hauberk.cli.train import TrainCommand
from hauberk.cli.transfer import TransferCommand

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "recipes" / "papers"))

import ding2020  # noqa: E402
import pages  # noqa: E402


def values(argv, option):
    return [word.split("=", 1)[1] for word in argv if word.startswith(f"--{option}=")]


class Asked(pages.Run):
    """Notes the commands, and makes up what they find."""

    def __init__(self, scale):
        options = Namespace(scale=scale, data_dir="D", only=None, again=False, jobs=1)
        super().__init__(pages.Paper("ding2020", "", options), None)
        self.asked = {}

    def hauberk(self, command, *words, out, show=True):
        folder = out if isinstance(out, Path) else self.folder(out)
        argv = [command, *words, "--data-dir=D", f"--out={folder}"]
        self.asked[str(folder)] = argv
        self.commands.append(" ".join(argv))
        if command == "radius":
            quantiles = {"0.25": 1.0, "0.5": 2.0, "0.75": 3.0}
            found = {"quantiles": quantiles, "mean": 2.5, "median": 2.0, "mean_is_bound": False}
            return {"clean_accuracy": 0.98, "metrics": {"l2": found}}
        names = [*values(argv, "name"), *values(argv, "vote")]
        cases = {
            threat: {
                "whitebox": dict.fromkeys(names, 0.8 - 0.1 * place),
                "combined": dict.fromkeys(names, 0.7 - 0.1 * place),
            }
            for place, threat in enumerate(values(argv, "threat"))
        }
        check = {t: {name: {"broke": 5, "broke_more": 1} for name in names} for t in cases}
        n = int(values(argv, "limit")[0]) if values(argv, "limit") else 0
        return {
            "n": n, "clean": dict.fromkeys(names, 0.9), "threats": cases,
            "check": {"threats": check},
        }  # fmt: skip


def everything(scale):
    run = Asked(scale)
    for setting, names in ding2020.TABLES.items():
        for row in run.paper.printed["tables"][names[0]]["rows"]:
            ding2020.accuracies(setting, "combined", run, row)
    for name, setting in (("Table 2", "mnist-l2"), ("Table 3", "cifar10-l2")):
        for row in run.paper.printed["tables"][name]["rows"]:
            ding2020.distances(setting, run, row)
    for row in ("MMA-0.45", "PGDLS-0.3"):
        ding2020.spsa(run, row)
    for row in ("OMMA-32", "MMA-32"):
        ding2020.omma(run, row)
    return run


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_every_command_is_understood(scale, monkeypatch):
    monkeypatch.chdir(ROOT)
    kept = []
    for kind in (TrainCommand, TransferCommand, RadiusCommand):
        monkeypatch.setattr(kind, "run", lambda self: kept.append(self) or 0)
    for argv in everything(scale).asked.values():
        assert main(argv) == 0
    trained = [one for one in kept if isinstance(one, TrainCommand)]
    for one in kept:
        if isinstance(one, TrainCommand):
            replace(one, dry_run=True).checked()
        else:
            one.question()
    assert len(trained) == (21 if scale == "small" else 86)


def test_the_papers_protocol_is_that_of_the_preset(monkeypatch):
    run = everything("paper")
    (linf,) = [a for a in run.asked.values() if a[0] == "transfer" and "linf:0.4" in " ".join(a)]
    assert values(linf, "limit") == ["10000"]
    assert values(linf, "preset") == ["ding2020"]
    assert not values(linf, "runs")
    assert not values(linf, "set")
    assert values(linf, "threat") == ["linf:0.1", "linf:0.2", "linf:0.3", "linf:0.4"]
    assert values(linf, "vote")[0] == "PGD-0.1+PGD-0.2+PGD-0.3+PGD-0.4"
    trained = [" ".join(a) for a in run.asked.values() if a[0] == "train"]
    for words in (
        "ding2020/cifar10-linf-mma.yaml --threat=linf:32/255 --set clean=0 --seed=1",
        "ding2020/cifar10-linf-single.yaml --threat=linf:24/255 --set grow=50/142",
        "ding2020/mnist-l2-mma.yaml --threat=l2:6.0 --data-dir",
        "ding2020/mnist-standard.yaml --data-dir",
    ):
        assert any(words in one for one in trained)
    cw = [a for a in run.asked.values() if a[0] == "radius"]
    assert {tuple(values(a, "limit") + values(a, "solver") + values(a, "metric")) for a in cw} == {
        ("1000", "cw", "l2")
    }


def test_rows_are_averages_and_differences():
    run = Asked("small")
    row = ding2020.accuracies("mnist-linf", "combined", run, "MMA-0.45-sd0")
    assert [row[k].value for k in ("clean", "0.1", "0.4")] == pytest.approx([90, 70, 40])
    assert row["AvgRobAcc"].value == pytest.approx((70 + 60 + 50 + 40) / 4)
    assert row["AvgAcc"].value == pytest.approx((90 + 70 + 60 + 50 + 40) / 5)
    alone = ding2020.accuracies("mnist-linf", "whitebox", run, "PGD-ens")
    assert alone["0.2"].value == pytest.approx(70)
    gap = ding2020.gaps("mnist-linf", run, "STD")
    assert gap["0.3"].value == pytest.approx(10)
    assert gap["AvgAcc"].value == pytest.approx(8)
    assert gap["AvgRobAcc"].value == pytest.approx(10)
    assert ding2020.accuracies("mnist-linf", "combined", run, "TRADES") == {}
    far = ding2020.distances("mnist-l2", run, "MMA-4.0")
    assert [far[k].value for k in ("mean", "25%", "median", "75%")] == [2.5, 1, 2, 3]
    beside = ding2020.omma(run, "OMMA-32")
    assert beside["TransferGap 8"].value == pytest.approx(10)
    assert beside["combined 8"].value == pytest.approx(60)
    found = ding2020.spsa(run, "MMA-0.45")
    assert [found[k].value for k in found] == pytest.approx([30, 3, 1])
