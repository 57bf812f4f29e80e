"""``python -m hauberk``."""

from hauberk.cli import entry

entry()
