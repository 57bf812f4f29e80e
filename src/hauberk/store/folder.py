"""The folder of a run: taken by one process, refused to other runs, resumed with the same settings.

Both a ledger and a training keep theirs so. The settings stand in one JSON file of the folder; a
folder with that file holds a run.
"""

import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from hauberk.errors import InputError
from hauberk.store.files import (
    LOCK,
    TEMPORARY,
    differences,
    is_temporary,
    lock,
    plain,
    put,
    read_json,
    share,
    short,
    to_json,
)

SHOWN = 8
"""Most differences that one message names."""


class Folder:
    """A folder that this process writes to, and the settings of the run in it.

    Attributes:
        path: the folder.
        settings: what its settings file says: of a resumed run, what it was begun with.
    """

    def __init__(self, path: Path, settings: dict[str, Any], held: int | None) -> None:
        self.path, self.settings, self._held = path, settings, held
        self._release = weakref.finalize(self, os.close, held) if held is not None else None

    @classmethod
    def take(
        cls, path: str | Path, settings: Mapping[str, Any], file: str, *, resume: bool = False,
        volatile: frozenset[str] = frozenset(),
    ) -> Self:  # fmt: skip
        """Make a folder for a run, or with ``resume`` take up the run that it holds.

        What a killed run left half-written is removed. While the object lives (or until
        :meth:`close`) no other process can take the folder.

        Args:
            path: the folder; made if it is missing.
            settings: what decides the run's results.
            file: name of the settings file, such as ``manifest.json``.
            resume: whether a run that is there may be continued.
            volatile: settings in which a resumed run may differ from what it was begun with. The
                patch number of ``hauberk_version`` may differ as well.

        Raises:
            InputError: if the folder holds another run or other files, if the run in it has other
                settings, if it cannot be written, or if another process is writing to it.
        """
        path, wanted = Path(path), plain(dict(settings))
        if os.path.exists(path) and not os.path.isdir(path):  # these two never raise
            raise InputError(f"{path} is a file: choose another --out, a folder for the run")
        try:
            path.mkdir(parents=True, exist_ok=True)
            _require_free(path, file, resume)
            folder = cls(path, wanted, lock(path))
            try:
                folder._settle(file, wanted, resume, volatile)
            except BaseException:
                folder.close()
                raise
        except OSError as error:
            raise InputError(
                f"cannot write to {path} ({error.strerror or error}): choose another --out"
            ) from error
        return folder

    @classmethod
    def join(
        cls, path: str | Path, settings: Mapping[str, Any] | None, file: str, seat: int,
        volatile: frozenset[str] = frozenset(),
    ) -> Self:  # fmt: skip
        """The folder of a run that another process has taken, and shares with :meth:`open_up`.

        Args:
            settings: what this process would run; None for whatever the folder says.
            seat: the number of this process among those that share the folder, from 1.

        Raises:
            InputError: if the folder holds a run with other settings.
        """
        path = Path(path)
        there = read_json(path / file)
        if settings is not None:
            require_same(path, there, plain(dict(settings)), volatile, in_words)
        return cls(path, there, lock(path, seat))

    def open_up(self) -> None:
        """Let the other processes of this run :meth:`join`."""
        share(self._held)

    def words(self, name: str, was: Any, now: Any) -> str | None:
        """What differs, in words, for keys whose values say nothing to a reader; else None."""
        return in_words(name, was, now)

    def close(self) -> None:
        """Let other processes in."""
        if self._release is not None:
            self._release()

    def _settle(
        self, file: str, wanted: dict[str, Any], resume: bool, volatile: frozenset[str]
    ) -> None:
        if not os.path.exists(self.path / file):
            put(self.path / file, to_json(wanted))
            return
        _require_free(self.path, file, resume)  # again: another process may have been faster
        self.settings = read_json(self.path / file)
        require_same(self.path, self.settings, wanted, volatile, self.words)
        for place in (self.path, self.path / "parts"):
            for entry in place.glob(f".*{TEMPORARY}"):
                with suppress(OSError):
                    entry.unlink()


def require_same(
    path: Path,
    there: Mapping[str, Any],
    here: Mapping[str, Any],
    volatile: frozenset[str],
    words: Callable[[str, Any, Any], str | None],
) -> None:
    """Refuse to resume a run with other settings, in one line that names what differs.

    Args:
        words: says of a key and its two values what differs, if the values say nothing.

    Raises:
        InputError: unless all settings but the volatile ones are equal.
    """
    if found := distinct(there, here, volatile, words):
        raise InputError(
            f"{path} holds a run with other settings, so it cannot be resumed: "
            f"{found}: use the same settings, or choose another --out"
        )


def distinct(
    there: Mapping[str, Any],
    here: Mapping[str, Any],
    volatile: frozenset[str],
    words: Callable[[str, Any, Any], str | None],
) -> str:
    """What tells the settings of two runs apart, but for the volatile ones; "" if nothing does.

    Args:
        words: as of :func:`require_same`.
    """
    one, other = ({k: v for k, v in m.items() if k not in volatile} for m in (there, here))
    was, now = (str(m.get("hauberk_version")).split(".")[:2] for m in (one, other))
    if was == now:  # patches change no numbers
        one["hauberk_version"] = other["hauberk_version"] = None
    every = dict.fromkeys(
        words(name, a, b) or f"{name} is {short(b)} here but {short(a)} there"
        for name, a, b in differences(one, other)
    )
    more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(list(every)[:SHOWN]) + more


def in_words(name: str, was: Any, now: Any) -> str | None:
    """What differs, in words, where a key of a manifest is a fingerprint; None for other keys.

    Example:
        >>> in_words("models.a.weights", "12", "34")
        "the weights of model 'a' differ"
    """
    room, _, rest = name.partition(".")
    if room not in ("models", "objects"):
        return None
    if not rest:
        return f"what identifies its {room} is not recorded"
    if room == "objects":
        here, there = (str(v or "").rpartition(" ")[0] for v in (now, was))
        return f"{here or there} in {rest} {'is another one' if now and was else 'is new or gone'}"
    model, _, part = rest.rpartition(".")
    if part == "weights":
        return f"the weights of model '{model}' differ"
    if part == "architecture":
        return f"the architecture or code of model '{model}' differs"
    there = "is not one of the run's" if was is None else "is missing"
    return f"model '{rest}' {there}"


def _require_free(path: Path, file: str, resume: bool) -> None:
    """Refuse a folder that holds somebody else's files, or a run that is not to be resumed."""
    if os.path.exists(path / file):
        if not resume:
            raise InputError(
                f"{path} already holds another run: choose another --out, "
                "or pass --resume to continue it"
            )
    elif any(not is_temporary(entry) and entry.name != LOCK for entry in path.iterdir()):
        raise InputError(
            f"{path} holds files but no {file}, so it is no run of hauberk: "
            "choose another --out, or an empty folder"
        )
