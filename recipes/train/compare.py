"""Train the budget recipes, evaluate them, and write the table of docs/results/training.md.

    python recipes/train/compare.py --data-dir DIR [--seeds 3] [--jobs 1] [--limit 1000]
        [--only ampgd max ...]

Every strategy costs the same number of passes. Runs are kept under runs/train/ and resumed, so
the script can be stopped at any moment and started again. ``--jobs`` runs go side by side, each
on one thread. ``--only`` some strategies: the rows of the others stay as the page has them.
"""

import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hauberk.analysis import optimum

HERE = Path(__file__).parent
STRATEGIES = ("avg", "max", "msd", "ampgd", "random-norm", "eat")
SINGLE = {"linf": "linf:0.3", "l2": "l2:2", "l1": "l1:10"}
THREATS = tuple(SINGLE.values())
NAMES = {
    "avg": "AVG", "max": "MAX", "msd": "MSD", "ampgd": "AMPGD", "random-norm": "random norm",
    "eat": "E-AT", "linf": "linf alone", "l2": "l2 alone", "l1": "l1 alone",
}  # fmt: skip
Summary = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One training and its evaluation."""

    recipe: str
    seed: int

    @property
    def out(self) -> Path:
        """Where the training is kept."""
        return Path(f"runs/train/budget-mnist-{self.recipe}-{self.seed}")

    def commands(self, data: str, limit: int) -> list[tuple[Path, list[str]]]:
        """What each command leaves behind when it is done, and the command."""
        which = f"{self.recipe}-single" if self.recipe in SINGLE else f"union-{self.recipe}"
        recipe, judged = HERE / "budget" / f"mnist-{which}.yaml", self.out / "standard"
        train = ["train", "--config", str(recipe), "--data-dir", data]
        train += ["--seed", str(self.seed), "--out", str(self.out)]
        evaluate = ["evaluate", "--model", str(self.out / "model.yaml"), "--data", "mnist:test"]
        evaluate += ["--data-dir", data, "--limit", str(limit), "--out", str(judged)]
        evaluate += [f"--threat={threat}" for threat in THREATS]
        return [(self.out, train), (judged, evaluate)]

    def run(self, data: str, limit: int) -> None:
        """Do what is left of it."""
        for out, words in self.commands(data, limit):
            if (out / "summary.json").exists():
                continue
            begun = any((out / name).exists() for name in ("config.json", "manifest.json"))
            more = ["--resume"] if begun else []
            command = [sys.executable, "-m", "hauberk", *words, *more]
            print(shlex.join(["hauberk", *words, *more]), flush=True)
            threads = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=threads, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"hauberk {shlex.join(words)} failed:\n{done.stderr[-2000:]}")

    def found(self) -> tuple[Summary, Summary] | None:
        """Summaries of the training and of the evaluation, if both are there."""
        files = [self.out / "summary.json", self.out / "standard" / "summary.json"]
        if not all(file.exists() for file in files):
            return None
        trained, judged = (json.loads(file.read_text(encoding="utf-8")) for file in files)
        return trained, judged


def jobs(seeds: int) -> list[Job]:
    """All of them: a whole table for the first seed, then more seeds, single threats last."""
    first = [Job(recipe, 0) for recipe in (*STRATEGIES, *SINGLE)]
    return [*first, *(Job(r, seed) for rs in (STRATEGIES, SINGLE) for seed in range(1, seeds)
                      for r in rs)]  # fmt: skip


def spread(values: list[float], scale: float = 100) -> str:
    """Mean and standard deviation over the seeds."""
    mean = f"{scale * statistics.mean(values):.1f}"
    return mean + (f" ± {scale * statistics.stdev(values):.1f}" if len(values) > 1 else "")


def row(name: str, found: list[tuple[Summary, Summary]]) -> list[str]:
    """A strategy's row."""
    each = [[judged["threats"][threat]["accuracy"] for _, judged in found] for threat in THREATS]
    return [
        name,
        str(len(found)),
        spread([judged["clean_accuracy"] for _, judged in found]),
        *map(spread, each),
        f"**{spread([judged['union_accuracy'] for _, judged in found])}**",
        spread([judged["average_accuracy"] for _, judged in found]),
        f"{statistics.mean(t['forwards'] + t['backwards'] for t, _ in found) / 1e6:.2f}",
        f"{statistics.mean(t['seconds_attack'] + t['seconds_training'] for t, _ in found):.0f}",
    ]


def table(seeds: int, kept: dict[str, list[str]]) -> str:
    """The table in Markdown, of the runs that are done; ``kept``: rows of the others, by name."""
    head = ["strategy", "seeds", "clean", *THREATS, "union", "average", "Mpasses", "seconds"]
    rows, best = [], {}
    for recipe in (*STRATEGIES, *SINGLE):
        found = [f for seed in range(seeds) if (f := Job(recipe, seed).found()) is not None]
        if not found:
            rows += [kept[NAMES[recipe]]] if NAMES[recipe] in kept else []
            continue
        rows.append(row(NAMES[recipe], found))
        if recipe in SINGLE:
            own = [judged["threats"][SINGLE[recipe]]["accuracy"] for _, judged in found]
            best[recipe] = statistics.mean(own)
    if len(best) == len(SINGLE):
        own = [f"{100 * best[recipe]:.1f}" for recipe in SINGLE]
        least, mean = optimum(best)
        rows.append(["OPT", "", "", *own, f"**{100 * least:.1f}**", f"{100 * mean:.1f}", "", ""])
    elif "OPT" in kept:
        rows.append(kept["OPT"])
    return markdown(head, rows)


def weights() -> str:
    """Mean domain weights of AMPGD after each epoch (Wang et al. 2021, Figure 3), first seed."""
    with open(Job("ampgd", 0).out / "history.csv", encoding="utf-8") as stream:
        records = list(csv.DictReader(stream))
    named = [f"weight {threat}" for threat in THREATS]
    head = ["epoch", *THREATS]
    rows = [[r["epoch"], *(f"{float(r[name]):.3f}" for name in named)] for r in records]
    return markdown(head, rows)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder of the MNIST files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--limit", type=int, default=1000, help="test images to evaluate on")
    parser.add_argument("--only", nargs="+", choices=(*STRATEGIES, *SINGLE), help="these rows")
    parser.add_argument("--to", default="docs/results/training.md")
    given = parser.parse_args()
    with ThreadPoolExecutor(given.jobs) as pool:
        wanted = [j for j in jobs(given.seeds) if j.recipe in (given.only or NAMES)]
        running = [pool.submit(j.run, given.data_dir, given.limit) for j in wanted]
        for done in as_completed(running):
            if (error := done.exception()) is not None:
                pool.shutdown(cancel_futures=True)
                raise error
    page = Path(given.to)
    fill(page, "budget", table(given.seeds, rows_of(page, "budget")))
    if (Job("ampgd", 0).out / "history.csv").exists():
        fill(page, "weights", weights())


def rows_of(path: Path, name: str) -> dict[str, list[str]]:
    """The rows of a table between two comments of a Markdown file, by their first cells."""
    text = path.read_text(encoding="utf-8").partition(f"<!-- {name} -->")[2]
    lines = text.partition(f"<!-- end of {name} -->")[0].strip().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row for row in cells}


def fill(path: Path, name: str, text: str) -> None:
    """Replace what is between two comments of a Markdown file, and show it."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    if not after:
        raise SystemExit(f"{path} lacks {begin} ... {end}: the table is\n{text}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
