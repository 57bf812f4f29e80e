"""``hauberk merge``."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hauberk.cli.files import leave
from hauberk.cli.options import Command, option
from hauberk.errors import InputError

COMMANDS = {
    "accuracy": "evaluate", "radius": "radius", "minmax": "minmax", "transfer": "transfer",
}  # fmt: skip
"""The command that makes a run of each kind, and leaves its pictures and tables."""


@dataclass(frozen=True, kw_only=True)
class MergeCommand(Command):
    """Make one run of its shards."""

    folders: list[str] = option([], "the folders of all shards", positional=True)
    out: str | None = option(None, "folder for the whole run")

    def run(self) -> int:
        from hauberk.cli.verify import with_recorded_networks
        from hauberk.evaluation import merge
        from hauberk.store.ledger import Ledger

        if not self.out:
            raise InputError("no folder for the whole run: give --out")
        found = merge(self.folders, self.out, objects=with_recorded_networks(self.folders[0]))
        if found is None:
            command = Ledger.open(self.out).manifest.get("command") or ["the", "same", "command"]
            print(f"all blocks are in {self.out}; the floor is left, which takes them together:")
            print(shlex.join([*command, "--resume"]))
            return 0
        type(found).tabulate(found.summary).print()
        leave(self.out, lambda folder: files_of(found, folder))
        return 0


def files_of(found: Any, folder: Path) -> Iterable[Path]:
    """The files that the command of a run leaves beside its ledger."""
    name = COMMANDS.get(str(found.summary["kind"]))
    if name is None:
        return ()
    kind = getattr(import_module(f"hauberk.cli.{name}"), f"{name.title()}Command")
    made: Iterable[Path] = kind().files(folder, found)
    return made
