"""The exceptions and the warning of hauberk: one clear line that says what to do."""

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar


class InputError(ValueError):
    """Input that cannot be used; the message says what to change (exit code 2).

    Example:
        >>> import hauberk as hb
        >>> hb.threat("linf")
        Traceback (most recent call last):
        hauberk.errors.InputError: unknown threat 'linf': write linf:EPS, ...
    """


class HauberkWarning(UserWarning):
    """A number may mislead although the run continues; the message says why and what to do.

    Example:
        >>> import warnings
        >>> import hauberk as hb
        >>> warnings.simplefilter("error", hb.HauberkWarning)  # make warnings stop a run
    """


def warn(message: str) -> None:
    """Issue a :class:`HauberkWarning` at the user's call, the first frame outside the package.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as seen:
        ...     warnings.simplefilter("always")
        ...     warn("the model returns probabilities")
        >>> seen[0].category.__name__
        'HauberkWarning'
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _own(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, HauberkWarning, stacklevel=level)


_later: ContextVar[list[str] | None] = ContextVar("later", default=None)


@contextmanager
def later() -> Iterator[list[str]]:
    """A list of the warnings that the results of runs inside the block hold (:func:`note`).

    Example:
        >>> with later() as found:
        ...     note(["l2:1: restarts disagree"])
        >>> found
        ['l2:1: restarts disagree']
    """
    found: list[str] = []
    token = _later.set(found)
    try:
        yield found
    finally:
        _later.reset(token)


def note(warnings: Iterable[str]) -> None:
    """Tell :func:`later` of warnings that a result holds; without it, nothing happens."""
    found = _later.get()
    if found is not None:
        found += [text for text in warnings if text not in found]


def _own(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


class TrainingError(RuntimeError):
    """A training that cannot continue, such as one with a loss that is not finite (exit code 1).

    Args:
        message: the cause and the remedy.
        ids: numbers of the examples of the minibatch where it occurred.
    """

    def __init__(self, message: str, ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)


class ProcessError(RuntimeError):
    """A run in several processes of which one has gone; finished parts are kept (exit code 1)."""
