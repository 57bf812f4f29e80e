"""What DeepFool and SuperDeepFool share: walks along linearised boundaries that end early."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hauberk.engine.state import Response
from hauberk.engine.stepper import S
from hauberk.errors import InputError
from hauberk.solvers.base import MinNormSolver


@dataclass(frozen=True, kw_only=True)
class Walk(MinNormSolver[S]):
    """A walk that asks for a share more than its length, and is over before its last step."""

    overshoot: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.overshoot >= 0:
            raise InputError(f"overshoot is {self.overshoot}: give 0 or more")

    @abstractmethod
    def over(self, state: S, response: Response) -> Tensor | None:
        """Which walks are over after this evaluation, ``(S,)`` bool; None for none."""

    def finished(self, state: S, response: Response) -> np.ndarray | None:
        done, over = super().finished(state, response), self.over(state, response)
        # Off the CPU reading a value waits for the device: only every eighth step does.
        if over is None or not (state.u.is_cpu or (response.clock.most + 1) % 8 == 0):
            return done
        ended = over.cpu().numpy()
        done = ended if done is None else done | ended
        return done if done.any() else None
