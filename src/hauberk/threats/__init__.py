"""Threats: sets of inputs an adversary may turn a clean input into."""

from hauberk.threats.ball import L0, L1, L2, Ball, Linf, Lp
from hauberk.threats.base import Box, Region, Threat
from hauberk.threats.notation import threat
from hauberk.threats.union import Union

__all__ = ["L0", "L1", "L2", "Ball", "Box", "Linf", "Lp", "Region", "Threat", "Union", "threat"]
