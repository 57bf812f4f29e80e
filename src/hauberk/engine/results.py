"""The best result of each example, from all of its attempts."""

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.outcome import Outcome
from hauberk.engine.slots import Slots
from hauberk.engine.state import keep_
from hauberk.engine.stepper import Stepper
from hauberk.engine.trace import Trace
from hauberk.threats.region import Region


class Results:
    """The best attempt on each of ``n`` examples so far.

    Attributes:
        decided: examples that need no further attempts, ``(n,)``.
        spent: forwards and backwards of each, ``(n, 2)``.
    """

    def __init__(self, stepper: Stepper, x: Tensor, members: int | None = None) -> None:
        self.stepper = stepper
        n = len(x)
        self.points = x.clone() if x.dtype == torch.float64 else x.to(torch.float32, copy=True)
        if members:
            self.points = self.points.unsqueeze(1).repeat_interleave(members, 1)
        self.loss = torch.full((n,), -torch.inf, dtype=self.points.dtype, device=x.device)
        self.fooled = torch.zeros(n, dtype=torch.bool, device=x.device)
        self.found_by = torch.full((n,), -1, device=x.device)
        self.decided = np.zeros(n, dtype=bool)
        self.spent = np.zeros((n, 2), dtype=np.int64)
        self.worst = torch.full_like(self.loss, torch.inf)
        self.inspected = torch.zeros(n, 3, device=x.device)
        self.violation = torch.full((n,), torch.nan, dtype=torch.float64, device=x.device)
        self.witness: Tensor | None = None
        self.each = self.loss.new_empty(n, 0)
        self.report: dict[str, Tensor] = {}
        self.trace: Trace | None = None

    def expect(self, attempts: int) -> None:
        """Make room for so many attempts on each example."""
        self.each = self.loss.new_full((len(self.loss), attempts), -torch.inf)

    def settle(self, gone: Slots, asked: tuple[int, int]) -> None:
        """Keep the results of slots that leave; ``asked``: passes of the batch so far."""
        np.add.at(self.spent, gone.example, np.array(asked) - gone.since)
        best, region = gone.best, gone.problem.region
        u = region.finalise(keep_(best.u.clone(), gone.hit_u, gone.hit.to(best.u.dtype)))
        loss = torch.where(gone.hit, gone.hit_loss, best.loss)
        fooled = gone.hit | best.fooled
        points, witness = region.decode(u), region.witness(u)
        index = torch.from_numpy(gone.example).to(self.loss.device)
        self.inspected.index_add_(0, index, gone.inspected)
        ended = torch.where(gone.hit, torch.inf, best.loss).to(self.worst.dtype)
        self.worst.scatter_reduce_(0, index, ended, "amin")
        self.each[index, torch.from_numpy(gone.attempt).to(index.device)] = loss.to(self.each.dtype)
        # Siblings may leave together: only the best of them counts.
        worth = loss.nan_to_num(nan=torch.inf).double().cpu().numpy()
        order = np.lexsort((gone.attempt, -worth, ~gone.hit.cpu().numpy()))
        rows = torch.from_numpy(order[np.unique(gone.example[order], return_index=True)[1]])
        index = torch.from_numpy(gone.example[rows.numpy()]).to(index.device)
        rows = rows.to(index.device)
        better = gone.hit[rows] | (loss[rows] > self.loss[index])
        # Of a search that never was inside, too.
        ends = better | self.violation[index].isnan()
        outside = torch.where(gone.hit, 0.0, gone.violation)
        self.violation[index[ends]] = outside[rows[ends]]
        index, rows = index[better], rows[better]
        self.points[index] = points[rows].to(self.points.dtype)
        self.loss[index] = loss[rows].to(self.loss.dtype)
        self.fooled[index] = fooled[rows]
        self.found_by[index] = torch.from_numpy(gone.attempt).to(index.device)[rows]
        for name, values in self.stepper.report(gone.state).items():
            kept = self.report.setdefault(name, values.new_full((len(self.loss),), torch.nan))
            kept[index] = values[rows]
        if gone.trace is not None:
            if self.trace is None:
                self.trace = Trace.of(len(self.loss), gone.trace)
            self.trace.put_(index, gone.trace.take(rows))
        if witness is not None:
            if self.witness is None:
                self.witness = witness.new_zeros(len(self.loss), *witness.shape[1:])
            self.witness[index] = witness[rows]

    def outcome(self, region: Region) -> Outcome:
        """What the run returns; ``region``: that of all examples."""
        spent = torch.from_numpy(self.spent)
        zero, huge = (self.inspected[:, 1:] / self.inspected[:, :1]).unbind(1)
        return Outcome(
            points=self.points,
            loss=self.loss,
            fooled=self.fooled,
            distance=region.distance(self.points, self.witness),
            attempt=self.found_by,
            forwards=spent[:, 0],
            backwards=spent[:, 1],
            witness=self.witness,
            worst=torch.where(self.worst == torch.inf, torch.nan, self.worst),
            zero=zero,
            huge=huge,
            each=self.each,
            violation=self.violation,
            report=self.report,
            weights=None if self.trace is None else self.trace.last(),
            path=None if self.trace is None else self.trace.values_of_rows(),
        )
