"""Runs the console examples of the pages and rewrites the output that they show.

    python docs/regenerate.py [PAGE.md ...]

Examples use the two networks of `hauberk demo`, kept in docs/models. tests/docs reads and runs the
pages by the functions below. A comment on the line before a code block tells how it is tested:

    <!-- test: skip because it needs MNIST -->   only the names of its options are checked
    <!-- test: file mine.yaml -->                what follows is written to that file
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "papers").glob("*.md")),
]
_BLOCK = re.compile(
    r"(?:^<!-- test: (?P<note>.*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*\w)%?")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its first line, language, text, and the note before it."""

    line: int
    language: str
    text: str
    note: str

    @property
    def skipped(self) -> bool:
        return self.note.startswith("skip because ")

    @property
    def file(self) -> str | None:
        return self.note.removeprefix("file ") if self.note.startswith("file ") else None


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the output that the page shows for it."""

    argv: list[str]
    shown: list[str]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, m.start("text")) + 1, m["language"], m["text"], m["note"] or "")
        for m in _BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    """The commands of a console block, each after a `$`; a backslash continues a line."""
    found: list[Command] = []
    if block.language != "console":
        return found
    lines = iter(block.text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            words = line[2:]
            while words.endswith("\\"):
                words = words[:-1] + next(lines)
            found.append(Command(shlex.split(words, comments=True), []))
        else:
            found[-1].shown.append(line)
    return [Command(c.argv, "\n".join(c.shown).strip("\n").splitlines()) for c in found]


def prepare(folder: Path) -> None:
    """Make the files that the examples name: the networks of the demonstration, and own ones."""
    import numpy as np

    from hauberk.data import load_data

    (folder / "runs" / "demo").mkdir(parents=True)
    for path in (ROOT / "docs" / "models").glob("*.safetensors"):
        shutil.copy(path, folder / "runs" / "demo" / path.name)
    shutil.copy(folder / "runs" / "demo" / "max.safetensors", folder / "net.safetensors")
    package = folder / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text("from hauberk.demo import digits_net as make_net\n")
    for split in ("train", "test"):
        data = load_data(f"digits:{split}")
        np.savez(folder / f"{split}.npz", images=data.images, labels=data.labels)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, with the import path as it was afterwards."""
    here, paths = Path.cwd(), sys.path[:]
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        sys.path[:] = paths


def output(argv: list[str]) -> list[str]:
    """What `hauberk ...` prints, without the blank lines at its ends; `SystemExit` if it fails."""
    from hauberk.cli.main import main

    printed, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(printed):
            code: object = main(argv[1:])
    except SystemExit as end:  # --help
        code = end.code
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    if code:
        raise SystemExit(f"{shlex.join(argv)} exits with {code}")
    return [line.rstrip() for line in printed.getvalue().strip("\n").splitlines()]


def abridged(got: list[str], shown: list[str]) -> list[str]:
    """The lines of `got` that stand where `shown` has lines; `...` leaves out any number."""
    if "..." not in shown:
        return got
    cut = shown.index("...")
    head, tail = got[:cut], shown[cut + 1 :]
    if not tail:
        return [*head, "..."]
    starts = [i for i, line in enumerate(got) if i >= cut and _words(line) == _words(tail[0])]
    rest = abridged(got[starts[0] :], tail) if starts else []
    return [*head, "...", *rest]


def alike(got: list[str], shown: list[str]) -> bool:
    """Equal words, and numbers that differ by no more than another machine's rounding may cost."""
    one, two = " ".join(got), " ".join(shown)
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(two), strict=False)
    return _words(one) == _words(two) and all(_near(a, b) for a, b in pairs)


def _words(text: str) -> str:
    """The text without its numbers, and without what the width of a terminal changes."""
    return re.sub(r"[\s─]+", " ", _NUMBER.sub("#", text))


def _near(a: str, b: str) -> bool:
    one, two = (float(text.rstrip("%").replace(",", "")) for text in (a, b))
    allowed = 4.0 if min(abs(one), abs(two)) >= 1 or "%" in a + b or a.isdigit() else 0.0
    return abs(one - two) <= max(allowed, 0.1 * max(abs(one), abs(two)))


def _rewrite(page: Path, folder: Path) -> bool:
    text = before = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)
        if block.language != "console" or block.skipped:
            continue
        new = block.text
        for command in commands(block):
            if command.argv[0] != "hauberk" or not command.shown:
                continue
            print(f"{page.name}, line {block.line}: {shlex.join(command.argv)}")
            got = abridged(output(command.argv), command.shown)
            new = new.replace("\n".join(command.shown), "\n".join(got))
        text = text.replace(block.text, new)
    page.write_text(text, encoding="utf-8")
    return text != before


def main(names: list[str]) -> None:
    """Rewrite the pages named, or all."""
    pages = [Path(name).resolve() for name in names] or PAGES
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder))
            with inside(Path(folder)):
                changed = _rewrite(page, Path(folder))
        print(f"{page.name}: {'rewritten' if changed else 'as it was'}")


if __name__ == "__main__":
    main(sys.argv[1:])
