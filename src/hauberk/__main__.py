"""``python -m hauberk``."""

from hauberk.cli.main import entry

entry()
