"""A window of an image that may change: ``Patch``."""

import re
from dataclasses import dataclass
from math import ceil, sqrt

import torch
from torch import Tensor

from hauberk.errors import InputError

_NOTATION = re.compile(r"(\d+)x(\d+)(?:\+(\d+)\+(\d+)|@(\d+))?")


@dataclass(frozen=True)
class Patch:
    """A window of so many rows and columns, at one place or at any of several.

    Args:
        height, width: in pixels.
        row, column: of its corner; None where it may lie anywhere.
        places: where attacks then look: so many, evenly spread over the image, each tried by every
            attack.

    Raises:
        InputError: for a window without pixels, and no place.

    Example:
        >>> Patch.of("8x6+3+4")
        Patch(height=8, width=6, row=3, column=4, places=1)
        >>> str(Patch.of("8x8@16"))
        '8x8@16'
    """

    height: int
    width: int
    row: int | None = None
    column: int | None = None
    places: int = 1

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.places < 1:
            raise InputError(f"the patch {self} has no pixels: write HxW+ROW+COLUMN, HxW@PLACES")

    @classmethod
    def of(cls, given: "Patch | str") -> "Patch":
        """A patch as it is, or from its notation.

        Raises:
            InputError: for any other text.
        """
        if isinstance(given, Patch):
            return given
        found = _NOTATION.fullmatch(str(given).strip().lower())
        if found is None:
            raise InputError(
                f"'{given}' is no patch: write 8x8+3+4 (rows x columns + row + column of its "
                "corner) or 8x8@16 (at 16 places)"
            )
        height, width, row, column, places = (None if v is None else int(v) for v in found.groups())
        assert height is not None
        assert width is not None
        if row is None:
            return cls(height, width, places=9 if places is None else places)
        return cls(height, width, row, column)

    def __str__(self) -> str:
        at = f"@{self.places}" if self.row is None else f"+{self.row}+{self.column}"
        return f"{self.height}x{self.width}{at}"

    def corners(self, x0: Tensor) -> Tensor:
        """Rows and columns of the corners of its places in inputs ``(S, ..., H, W)``, ``(K, 2)``.

        Raises:
            InputError: if it does not lie in the inputs.
        """
        if x0.dim() < 3:
            raise InputError(f"a patch needs images (..., H, W), not inputs {tuple(x0.shape[1:])}")
        height, width = x0.shape[-2:]
        rows, columns = height - self.height, width - self.width
        far = (self.row or 0) > rows or (self.column or 0) > columns
        if rows < 0 or columns < 0 or far:
            raise InputError(f"the patch {self} does not fit into inputs of {height} x {width}")
        if self.row is not None:
            return torch.tensor([[self.row, self.column]], device=x0.device)
        across = min(self.places, ceil(sqrt(self.places)))
        down = ceil(self.places / across)
        grid = [(i, j) for i in _even(rows, down) for j in _even(columns, across)]
        return torch.tensor(grid[: self.places], device=x0.device)

    def window(self, x0: Tensor, place: Tensor | None = None) -> Tensor:
        """Where it lies, ``(1, ...)`` bool; at ``place`` (S,) int64 of each input, ``(S, ...)``."""
        corners = self.corners(x0)
        at = corners[:1] if place is None else corners[place]
        rows = torch.arange(x0.shape[-2], device=x0.device)
        columns = torch.arange(x0.shape[-1], device=x0.device)
        down = (rows >= at[:, :1]) & (rows < at[:, :1] + self.height)
        across = (columns >= at[:, 1:]) & (columns < at[:, 1:] + self.width)
        both = down.unsqueeze(2) & across.unsqueeze(1)
        shape = (len(at), *[1] * (x0.dim() - 3), *both.shape[1:])
        return both.view(shape).expand(len(at), *x0.shape[1:])


def _even(last: int, many: int) -> list[int]:
    """So many numbers from 0 to ``last``, evenly spread; the middle one alone."""
    return [round(last * i / (many - 1)) for i in range(many)] if many > 1 else [last // 2]
