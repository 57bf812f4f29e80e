"""One page a paper: what its tables and figures print, beside what the same commands find here.

A script recipes/papers/NAME.py declares the page, and recipes/papers/printed/NAME.yaml holds what
the paper prints::

    title: Maini, Wong & Kolter 2020
    tables:
      Table 1:
        title: MNIST, accuracy (%)
        columns: [clean, linf, all]
        rows: {MSD: [98.3, 62.7, 58.4]}              # null where the paper has no number
    figures: {Figure 2: accuracy against eps}
    settings:                                        # see settings.py
      recipe maini2020/mnist-union-msd: {strategy.steps: 100}

The script gives the rows and the pictures::

    paper = Paper.from_command_line("maini2020", about="...")

    def table1(run, row):                            # one row: a cell for each column
        net = run.model("mnist-msd-9")
        found = run.hauberk("evaluate", f"--model={net}", "--data=mnist:test", "--limit=100", ...)
        return {"clean": share(found["clean_accuracy"], found["n"]), ...}

    def figure2(run, svg):                           # writes the file svg; may return a text
        ...

    paper.table("Table 1", table1, differs="What a reader must know about ours.")
    paper.figure("Figure 2", figure2)
    raise SystemExit(paper.run())

Rows are computed ``--jobs`` at a time, each command on one thread of a process of its own. What is
there of a row (its file under runs/papers/SCALE/NAME, and the runs that it made) is not made again,
so that the script can be stopped at any moment and started again; the page is written after every
row. ``--only "Table 1"`` makes a part, ``--again`` makes it anew.
"""

import argparse
import json
import re
import shlex
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import settings
import yaml

from hauberk.evaluation.core.summary import wilson

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("recipes/papers")
PAGES = Path("docs/papers")
SCALES = ("small", "paper")


@dataclass(frozen=True)
class Cell:
    """A number of ours: its unit is that of the printed one (accuracies in %)."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    digits: int = 1

    def __str__(self) -> str:
        text = f"{self.value:.{self.digits}f}"
        if self.low is not None and self.high is not None:
            text += f" ({self.low:.{self.digits}f} to {self.high:.{self.digits}f})"
        return text


def share(part: float, n: int) -> Cell:
    """A share of ``n`` examples, in per cent, with its 95% interval.

    Args:
        part: between 0 and 1.
    """
    low, high = wilson(round(part * n), n)
    return Cell(100 * part, 100 * low, 100 * high, n, 0 if n <= 200 else 1)


def number(value: float, digits: int = 2, n: int | None = None) -> Cell:
    """Any other number."""
    return Cell(float(value), n=n, digits=digits)


Cells = Mapping[str, Cell | str | None]
Row = Callable[["Run", str], Cells]
Picture = Callable[["Run", Path], str | None]


@dataclass
class Section:
    """A table or a figure of the paper."""

    name: str
    make: Any
    differs: str
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    printed: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    title: str = ""

    @property
    def slug(self) -> str:
        return slug(self.name)

    def parts(self) -> Sequence[str]:
        """What is made, and kept, one at a time."""
        return self.rows or ("figure",)


def slug(text: str) -> str:
    """A name for files."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def work(words: Sequence[str]) -> None:
    """Run a command of hauberk in this process."""
    from hauberk.cli.main import main

    code = main(list(words))
    if code:
        raise RuntimeError(f"exit code {code}: hauberk {shlex.join(words)}")


def one_thread() -> None:
    """Set up a process of the pool."""
    import torch

    torch.set_num_threads(1)


class Run:
    """What a row or a picture may use: models, commands, processes. Remembers the commands."""

    def __init__(self, paper: "Paper", pool: Executor) -> None:
        self.paper, self.pool = paper, pool
        self.commands: list[str] = []

    @property
    def small(self) -> bool:
        """Whether this is the small scale."""
        return self.paper.scale == "small"

    @property
    def data_dir(self) -> str:
        """Where the data are."""
        return self.paper.data_dir

    def pick(self, small: Any, paper: Any) -> Any:
        """The one for this scale."""
        return small if self.small else paper

    def folder(self, name: str) -> Path:
        """A folder of this page's for a run."""
        return self.paper.kept / slug(name)

    def hauberk(self, command: str, *words: str, out: str | Path, show: bool = True) -> Any:
        """A run of ``hauberk COMMAND`` with ``--data-dir`` and ``--out``, or what is there of it.

        Args:
            out: its folder; a plain name is a folder of this page's.
            show: whether the page lists the command.

        Returns:
            its summary.json.
        """
        folder = out if isinstance(out, Path) else self.folder(out)
        argv = [command, *words, f"--data-dir={self.data_dir}", f"--out={folder}"]
        if show:
            shown = shlex.join(["hauberk", *argv]).replace(self.data_dir, "DIR")
            self.commands.append(shown)
        with self.paper.lock(str(folder)):
            if not (folder / "summary.json").exists():
                resume = ["--resume"] if folder.exists() and any(folder.iterdir()) else []
                self.pool.submit(work, [*argv, *resume]).result()
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))

    def python(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(*arguments)`` in a process of the pool; both must be importable."""
        return self.pool.submit(function, *arguments).result()

    def model(
        self, name: str, *words: str, small: str | None = None, paper: str | None = None
    ) -> str:
        """A trained model, trained first if it is not there: for ``--model``.

        Args:
            name: small scale: recipes/papers/small/NAME.yaml, or SMALL.yaml if that is given.
            words: options that go beside the recipe, as ``--threat=linf:0.1``.
            paper: the recipe of the full setting, as ``maini2020/mnist-union-msd``; default: name.
        """
        recipe = HERE / "small" / f"{small or name}.yaml"
        if not self.small:
            recipe = Path("recipes/train") / f"{paper or name}.yaml"
        folder = Path("runs/papers") / self.paper.scale / "models" / slug(name)
        before = len(self.commands)
        self.hauberk("train", f"--config={recipe}", *words, out=folder)
        self.paper.trainings[name] = self.commands.pop(before)
        return str(folder)


class Paper:
    """A page in the making; see the head of this file."""

    def __init__(self, name: str, about: str, options: argparse.Namespace) -> None:
        self.name, self.about, self.options = name, about, options
        self.scale: str = options.scale
        self.data_dir: str = options.data_dir
        file = ROOT / HERE / "printed" / f"{name}.yaml"
        self.printed: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        self.kept = Path("runs/papers") / self.scale / name
        self.sections: list[Section] = []
        self.trainings: dict[str, str] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._writing = threading.Lock()

    @classmethod
    def from_command_line(cls, name: str, *, about: str) -> "Paper":
        """A page as the command line wants it."""
        parser = argparse.ArgumentParser(description=f"Write docs/papers/{name}.md.")
        parser.add_argument("--data-dir", required=True, help="where the data sets are")
        parser.add_argument("--scale", choices=SCALES, default="small")
        parser.add_argument("--only", action="append", metavar="NAME", help='as "Table 1"')
        parser.add_argument("--again", action="store_true", help="make the rows anew")
        parser.add_argument("--jobs", type=int, default=2, help="rows side by side (2)")
        return cls(name, about, parser.parse_args())

    def lock(self, name: str) -> threading.Lock:
        """One maker a folder."""
        return self._locks.setdefault(name, threading.Lock())

    def table(self, name: str, make: Row, *, rows: Sequence[str] = (), differs: str = "") -> None:
        """Declare a table.

        Args:
            make: makes one row, given its name.
            rows: those made here; default: all printed.
            differs: what is not as in the paper.
        """
        known = self.printed["tables"][name]
        section = Section(name, make, differs, title=known["title"], columns=known["columns"])
        section.printed = known["rows"]
        section.rows = rows or list(section.printed)
        self.sections.append(section)

    def figure(self, name: str, make: Picture, *, differs: str = "") -> None:
        """Declare a figure; ``make`` gets the path of the picture to write."""
        title = self.printed["figures"][name]
        self.sections.append(Section(name, make, differs, title=title))

    def run(self) -> int:
        """Make what is missing, and write the page."""
        started, failed = time.monotonic(), []
        jobs = [(s, part) for s in self.sections for part in s.parts() if self.wanted(s, part)]
        context = get_context("spawn")
        self.write()
        with (
            ProcessPoolExecutor(self.options.jobs, context, one_thread) as pool,
            ThreadPoolExecutor(self.options.jobs) as threads,
        ):
            todo = {threads.submit(self.make, s, part, pool): (s, part) for s, part in jobs}
            for done, job in enumerate(as_completed(todo), 1):
                section, part = todo[job]
                minutes = (time.monotonic() - started) / 60
                if job.exception() is not None:
                    failed.append(f"{section.name}, {part}")
                    traceback.print_exception(job.exception())
                print(
                    f"[{done}/{len(jobs)}] {section.name}: {part} ({minutes:.1f} min)", flush=True
                )
        for name in failed:
            print(f"failed: {name}")
        print(self.write())
        return int(bool(failed))

    def wanted(self, section: Section, part: str) -> bool:
        """Whether it is to be made."""
        only = self.options.only
        if only and section.name not in only:
            return False
        return self.options.again or not self.file(section, part).exists()

    def file(self, section: Section, part: str) -> Path:
        """Where a row is kept."""
        return self.kept / "rows" / section.slug / f"{slug(part)}.json"

    def make(self, section: Section, part: str, pool: Executor) -> None:
        """Make a row or a picture, keep it, write the page."""
        run, started = Run(self, pool), time.monotonic()
        if section.rows:
            found: Any = {k: v and plain(v) for k, v in section.make(run, part).items()}
        else:
            svg = PAGES / self.name / f"{section.slug}.svg"
            svg.parent.mkdir(parents=True, exist_ok=True)
            found = section.make(run, svg) or ""
        file = self.file(section, part)
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {"found": found, "commands": run.commands, "seconds": time.monotonic() - started}
        with self._writing:
            file.write_text(json.dumps({**record, "trainings": self.trainings}), encoding="utf-8")
        self.write()

    def write(self) -> Path:
        """Write the page of what is there."""
        with self._writing:
            page = PAGES / f"{self.name}.md"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text("\n".join(self.text()), encoding="utf-8")
        return page

    def text(self) -> list[str]:
        """The page, line by line."""
        records = {
            (s.name, part): json.loads(self.file(s, part).read_text(encoding="utf-8"))
            for s in self.sections
            for part in s.parts()
            if self.file(s, part).exists()
        }
        trainings: dict[str, str] = {}
        for record in records.values():
            trainings |= record["trainings"]
        again = f"python recipes/papers/{self.name}.py --data-dir DIR --scale {self.scale}"
        lines = [f"# {self.printed['title']}", "", self.about.strip(), ""]
        lines += [f"Made by `{again}`.", LEGEND[self.scale], ""]
        for section in self.sections:
            lines += section_text(section, records, self.name)
        if trainings:
            lines += ["## Models", "", *console(trainings[name] for name in sorted(trainings))]
        if self.printed.get("settings"):
            lines += settings.text(self.printed["settings"])
        return lines


CELLS = "A cell is *ours (95% interval)* · *printed*, accuracies in %"
LEGEND = {
    "small": f"{CELLS}. Small scale: networks, data, steps and restarts are cut to two CPU cores, "
    "so that ours show the pattern, not the level.",
    "paper": f"{CELLS}; the paper's settings.",
}


def plain(cell: Cell | str) -> Any:
    """As JSON has it."""
    return asdict(cell) if isinstance(cell, Cell) else cell


def section_text(section: Section, records: Mapping[Any, Any], name: str) -> list[str]:
    """A table or a picture, with its commands."""
    lines = [f"## {section.name}: {section.title}", ""]
    made = {part: records.get((section.name, part)) for part in section.parts()}
    if section.rows:
        lines += table_text(section, made)
    elif made["figure"]:
        lines += [f"![{section.name}]({name}/{section.slug}.svg)", ""]
        lines += [made["figure"]["found"], ""] if made["figure"]["found"] else []
    else:
        lines += ["Not made yet.", ""]
    lines += [f"{section.differs.strip()}", ""] if section.differs else []
    commands = [c for record in made.values() if record for c in record["commands"]]
    return lines + console(dict.fromkeys(commands))


def table_text(section: Section, made: Mapping[str, Any]) -> list[str]:
    """The rows: all printed ones, and ours."""
    lines = [
        "| | n | " + " | ".join(section.columns) + " |",
        "|---" * (len(section.columns) + 2) + "|",
    ]
    for row in dict.fromkeys([*section.printed, *section.rows]):
        ours = made[row]["found"] if made.get(row) else {}
        cells = {k: Cell(**v) if isinstance(v, dict) else v for k, v in ours.items()}
        sizes = sorted({c.n for c in cells.values() if isinstance(c, Cell) and c.n is not None})
        printed = dict(zip(section.columns, section.printed.get(row, ()), strict=False))
        texts = [both(cells.get(c), printed.get(c)) for c in section.columns]
        lines.append(f"| {row} | {', '.join(map(str, sizes))} | " + " | ".join(texts) + " |")
    return [*lines, ""]


def both(ours: Cell | str | None, printed: object) -> str:
    """Ours and theirs."""
    left = "–" if ours is None else str(ours)
    return left if printed is None else f"{left} · {printed}"


def console(commands: Any) -> list[str]:
    """Commands as a block that folds."""
    lines = [f"$ {command}" for command in commands]
    if not lines:
        return []
    head = "<details><summary>Commands</summary>\n"
    skip = "<!-- test: skip because the data are not there -->"
    return [head, skip, "```console", *lines, "```", "</details>", ""]
