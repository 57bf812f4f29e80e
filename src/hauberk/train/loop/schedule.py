"""Learning rates as a function of the optimiser step."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, TypeAlias

from hauberk.errors import InputError

Points: TypeAlias = Sequence[tuple[float, float]]
Schedule: TypeAlias = Points | tuple[str, Points] | None


@dataclass(frozen=True)
class Rates:
    """The learning rate of every step.

    Args:
        base: The rate before any factor.
        kind: ``constant``; ``linear``, pieces between ``(epoch, rate)``; ``steps`` or ``epochs``,
            a factor from each of those on, all of them multiplied.
        points: The pairs.

    Example:
        >>> rates = Rates.of(("epochs", [(2, 0.1)]), base=0.5)
        >>> rates.at(step=10, steps_per_epoch=10), rates.at(step=20, steps_per_epoch=10)
        (0.5, 0.05)
    """

    base: float
    kind: str = "constant"
    points: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, schedule: Schedule, base: float) -> "Rates":
        """Rates from what a user wrote; `InputError` for what is no schedule.

        None is the rate ``base`` throughout; ``[(0, 0.0), (6, 1e-3), (15, 0.0)]`` are straight
        lines; ``("steps", [(40_000, 0.1)])`` and ``("epochs", [(100, 0.1)])`` are steps down.
        """
        if not (isfinite(base) and base >= 0):
            raise InputError(f"learning_rate is {base}: give a number of 0 or more")
        if schedule is None:
            return cls(base)
        if not isinstance(schedule, Sequence) or isinstance(schedule, str):
            raise InputError(
                f"the schedule is {schedule!r}: give [(epoch, rate), ...] "
                'or ("steps", [(step, factor), ...])'
            )
        kind, given = "linear", schedule
        if len(schedule) == 2 and isinstance(schedule[0], str):
            kind, given = schedule[0], schedule[1]  # type: ignore[assignment]
            if kind not in ("steps", "epochs", "linear"):
                raise InputError(
                    f"unknown schedule {kind!r}: choose linear, steps or epochs, "
                    "or give [(epoch, rate), ...]"
                )
        points = _points(given)
        if any(a[0] >= b[0] for a, b in pairwise(points)):
            what = "steps" if kind == "steps" else "epochs"
            raise InputError(f"the schedule {list(points)} is not increasing: sort its {what}")
        return cls(base, kind, points)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """The rate of step ``step``, counted from 0; lines are read at the end of the step."""
        if self.kind == "constant":
            return self.base
        if self.kind == "linear":
            return self._line((step + 1) / steps_per_epoch)
        here = step if self.kind == "steps" else step / steps_per_epoch
        rate = self.base
        for since, factor in self.points:
            rate *= factor if here >= since else 1.0
        return rate

    def _line(self, epoch: float) -> float:
        after = bisect_right([p[0] for p in self.points], epoch)
        if after == 0:
            return self.points[0][1]
        if after == len(self.points):
            return self.points[-1][1]
        (a, low), (b, high) = self.points[after - 1 : after + 1]
        return low + (high - low) * (epoch - a) / (b - a)


def _points(given: Any) -> tuple[tuple[float, float], ...]:
    try:
        points = tuple((float(a), float(b)) for a, b in given)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the schedule {given!r} holds no pairs: give [(epoch, rate), ...] "
            'or ("steps", [(step, factor), ...])'
        ) from error
    if not points or not all(isfinite(a) and isfinite(b) and a >= 0 <= b for a, b in points):
        raise InputError(f"the schedule {given!r} must hold finite numbers of 0 or more")
    return points
