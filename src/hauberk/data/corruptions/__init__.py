"""Common corruptions of images: fifteen kinds, each at severities 1 to 5."""

from hauberk.data.corruptions.corruption import Corruption, corruptions_in
from hauberk.data.corruptions.kinds import KINDS, SEVERITIES, CorruptionKind

__all__ = ["KINDS", "SEVERITIES", "Corruption", "CorruptionKind", "corruptions_in"]
