"""What hauberk raises: one clear line that says what to do."""

from collections.abc import Sequence


class InputError(ValueError):
    """The user's input cannot be worked on; the message says what to change (exit code 2)."""


class HauberkWarning(UserWarning):
    """The run goes on, but its number may mislead; the message names the cause and the remedy."""


class TrainingError(RuntimeError):
    """A training that cannot go on, such as a loss that is not finite (exit code 1).

    Attributes:
        ids: numbers of the examples of the minibatch where it was seen.
    """

    def __init__(self, message: str, ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)
