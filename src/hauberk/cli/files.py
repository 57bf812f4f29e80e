"""Tables and pictures that a command leaves beside its ledger."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hauberk.errors import InputError


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """A table as CSV; returns its path."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow(header)
        lines.writerows(rows)
    return path


def write_json(path: Path, values: object) -> Path:
    """Values as JSON; returns the path."""
    from hauberk.store.files import plain, put, to_json

    put(path, to_json(plain(values)))
    return path


def leave(
    out: str | None,
    write: Callable[[Path], Iterable[Path]] = lambda _: (),
    ledgers: Sequence[Path] = (),
) -> None:
    """Write files into ``--out``, if it was given, and print where they and the ledger are.

    Args:
        out: the folder of the run.
        write: writes files into it and returns their paths.
        ledgers: where the ledgers are, if they are not the folder itself.

    Raises:
        InputError: if they cannot be written; the ledger is kept.
    """
    if not out:
        return
    folder = Path(out)
    try:
        written = list(write(folder))
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror or error}); the ledger is kept: see to "
            "the cause, then run again with --resume"
        ) from error
    for path in written:
        print(path)
    print(*(f"ledger: {ledger}" for ledger in ledgers or [folder]), sep="\n")
