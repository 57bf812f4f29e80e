"""What hauberk raises: one clear line that says what to do."""


class InputError(ValueError):
    """The user's input cannot be worked on; the message says what to change (exit code 2)."""


class HauberkWarning(UserWarning):
    """The run goes on, but its number may mislead; the message names the cause and the remedy."""
