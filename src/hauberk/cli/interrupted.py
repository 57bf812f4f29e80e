"""What an interrupted command leaves, in one line that is true of this run."""

from pathlib import Path

from hauberk.cli.options import Command

PARTS = "parts/*.parquet"
CHECKPOINT = "checkpoint.pt"


class Kept:
    """Looks at a command's folder before it runs and after it was interrupted.

    Args:
        command: of the console.
    """

    def __init__(self, command: Command) -> None:
        given = getattr(command, "given", {})
        out = getattr(command, "out", None) or given.get("out")
        self.out = Path(out).expanduser() if out else None
        self.resumes = any(each.name == "resume" for each in command.declared())
        self.resumed = bool(getattr(command, "resume", False) or given.get("resume"))
        self.dry = bool(getattr(command, "dry_run", False))
        self.before = self.parts()

    def parts(self) -> dict[Path, int]:
        """Finished parts of ledgers and checkpoints in the folder, with the time of each."""
        if self.out is None or not self.resumes or not self.out.is_dir():
            return {}
        files = [*self.out.rglob(PARTS), *self.out.rglob(CHECKPOINT)]
        return {file: file.stat().st_mtime_ns for file in files if not file.name.startswith(".")}

    def __str__(self) -> str:
        if self.dry:
            return "nothing was to be kept of a dry run"
        if self.out is None:
            without = ", since there is no --out" if self.resumes else ""
            return f"nothing of this run is kept{without}"
        if not self.resumes and self.out.exists():
            return f"what was written so far is in {self.out}; it cannot be continued: run it again"
        if not self.resumes:
            return "nothing of this run is kept"
        after = self.parts()
        made = [file for file, time in after.items() if self.before.get(file) != time]
        if not made and not (self.resumed and after):
            return "nothing of this run is kept: it had finished no part yet"
        counts = [
            _many(len([f for f in after if (f.name == CHECKPOINT) == saved]), what)
            for what, saved in (("finished part", False), ("checkpoint", True))
        ]
        return f"{' and '.join(filter(None, counts))} kept in {self.out}: go on with --resume"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}" if number else ""
