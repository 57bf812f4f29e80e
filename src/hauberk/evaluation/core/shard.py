"""Shards: a run's blocks shared out among runs that know nothing of each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hauberk.errors import InputError


@dataclass(frozen=True)
class Shard:
    """A run's share of the blocks, where several runs that know nothing of each other do them all.

    Attributes:
        number: of this share, from 1.
        of: how many there are.

    Example:
        >>> Shard.of("2/3").blocks(8)
        range(1, 8, 3)
    """

    number: int = 1
    many: int = 1

    @classmethod
    def of(cls, given: "str | Sequence[int] | Shard | None") -> "Shard":
        """From ``"2/3"``, or a pair; of None, the only one.

        Raises:
            InputError: for what is no share.
        """
        if given is None or isinstance(given, Shard):
            return given or cls()
        parts = given.split("/") if isinstance(given, str) else list(given)
        try:
            number, many = (int(str(part)) for part in parts)
        except ValueError:
            raise InputError(
                f"shard is {given}: give which of how many, e.g. 1/4 for the first of four"
            ) from None
        if not 1 <= number <= many:
            raise InputError(f"shard is {number}/{many}: give 1/{many} to {many}/{many}")
        return cls(number, many)

    def __bool__(self) -> bool:
        return self.many > 1

    def __str__(self) -> str:
        return f"{self.number}/{self.many}"

    def facts(self) -> dict[str, Any]:
        """What the manifest records."""
        return {"shard": [self.number, self.many]} if self else {}

    def blocks(self, many: int) -> range:
        """Numbers of the blocks that are its own, of so many.

        Raises:
            InputError: if there are none.
        """
        mine = range(self.number - 1, many, self.many)
        if self and not mine:
            raise InputError(
                f"shard {self} has nothing to do, for there are {many} blocks of examples: "
                f"give at most {many} shards, or a smaller block"
            )
        return mine
