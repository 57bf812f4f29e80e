"""The exceptions and the warning of hauberk: one clear line that says what to do."""

from collections.abc import Sequence


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


class TrainingError(RuntimeError):
    """A training that cannot continue, such as one with a loss that is not finite (exit code 1).

    Args:
        message: the cause and the remedy.
        ids: numbers of the examples of the minibatch where it occurred.
    """

    def __init__(self, message: str, ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)
