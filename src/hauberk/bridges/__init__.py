"""Bridges: attacks of other libraries, run and counted as our own."""

from hauberk.bridges.foolbox import FoolboxAttack

__all__ = ["FoolboxAttack"]
