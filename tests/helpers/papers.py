"""Scripts of the papers' pages at either scale, whose commands are read as hauberk reads them."""

import importlib
import sys
from argparse import Namespace
from pathlib import Path

from hauberk.cli.main import main as cli

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "recipes" / "papers"


class Parsed:
    """In place of the processes: commands are read and not run; `leave` writes what they would."""

    def __init__(self):
        self.asked = []

    def submit(self, work, words, *more):
        if isinstance(words, str):  # a function of the script
            found = self.computed(words, *more)
            return Namespace(result=lambda: found)
        self.asked.append(words)
        assert cli(list(words)) == 0, words
        (out,) = values(words, "out")
        self.leave(words, Path(out))
        return Namespace(result=lambda: None)

    def leave(self, words, out):
        """Write the files of a command."""
        raise NotImplementedError

    def computed(self, *arguments):
        """The value of a function of the script."""
        raise NotImplementedError


def values(words, option):
    """Those of an option, in their order."""
    return [word.partition("=")[2] for word in words if word.startswith(f"--{option}=")]


def made(page, parsed, picture):
    """All that a page asks for: section, part, run, and the row or picture made of it."""
    for section in page.paper.sections:
        for part in section.parts():
            run = page.Run(page.paper, parsed)
            yield section, part, run, section.make(run, part if section.rows else picture)


def printed(section, part):
    """Columns of a row that have a printed value."""
    values = section.printed.get(part) or ()
    return {c for c, v in zip(section.columns, values, strict=False) if v is not None}


def loader(name, commands, monkeypatch, folder):
    """For a fixture: from a scale to the script, as if called with it in an empty folder.

    Args:
        name: of the script.
        commands: classes of the commands that it asks for, which do nothing.
        folder: has the recipes beside what the script writes.
    """
    (folder / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for kind in commands:
        monkeypatch.setattr(kind, "run", lambda self: 0)

    def load(scale):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--data-dir=D", f"--scale={scale}"])
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    yield load
    sys.modules.pop(name, None)
