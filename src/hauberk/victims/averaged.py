"""Stochastic models: decided by their mean probability over several draws.

A stochastic model must draw from torch's global generators. Inside
:func:`~hauberk.maths.seeding.seeded`
they are seeded, and afterwards they stand where they stood. Those of numpy and Python are left
alone: a model that draws from them cannot be repeated, of which an evaluation warns.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self
from zlib import crc32

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.maths.losses import wrong
from hauberk.maths.seeding import seeded
from hauberk.victims.memory import MEMORY_ERRORS
from hauberk.victims.victim import Victim

SURE = 2.0
"""Standard errors by which a stochastic model must be wrong for an attack to stop."""


class Averaged(Victim):
    """A stochastic model whose decision is the argmax of its mean probability over some draws.

    ``logits`` (B, C) are the logs of the mean softmax over ``draws`` passes, stacked into one
    forward, and count as so many passes. An ordinary attack on this victim climbs the loss of the
    mean probability. ``held()`` seeds torch's generators, so a run is reproducible and leaves the
    user's generators alone. ``predict``, which the judge calls, takes one example at a time and
    seeds its draws from ``seed`` and the example's numbers: a decision depends on the point alone,
    not on its neighbours, nor on what ran before.

    Args:
        draws: passes behind one decision, 1 or more.
        sure: standard errors by which a point must be wrong for an attack to stop there: the
            judge's draws would often say otherwise. Of 150 MNIST images on a network behind noise,
            a PGD of 20 steps and 10 draws broke 82 at 2, and 38 at 0 (the first wrong mean).
        seed: of all draws.
        batch_size: rows through the model at once; ``batch_size / draws`` examples.
    """

    plain = False

    def __init__(
        self,
        model: nn.Module,
        draws: int = 20,
        *,
        sure: float = SURE,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(model, batch_size)
        check_draws(draws, sure)
        self.draws, self.sure, self.seed = draws, sure, seed
        self._inside = False
        self._last: tuple[Tensor, Tensor] | None = None

    @contextmanager
    def held(self) -> Iterator[Self]:
        """Eval mode, frozen parameters, and the generators seeded; re-entrant."""
        outermost, self._inside = not self._inside, True
        try:
            with ExitStack() as stack:
                if outermost:
                    stack.enter_context(seeded(self.seed, self.device))
                stack.enter_context(super().held())
                yield self
        finally:
            self._inside = not outermost
            self._last = None if outermost else self._last

    def batch_size(self, example: Tensor) -> int:
        return max(1, super().batch_size(example) // self.draws)

    def shrink(self, error: BaseException, size: int) -> int:
        super().shrink(error, size)
        # What is kept is in rows, of which each example has several.
        self._chunk = size // 2 * self.draws
        return size // 2

    def once(self, x: Tensor, soften: float = 0.0) -> Tensor:
        """One draw of the model's logits for each row, ``(B, C)``."""
        return super().logits(x, soften)

    def logits(self, x: Tensor, soften: float = 0.0) -> Tensor:
        out = self.once(repeated(x, self.draws), soften)
        draws = out.view(self.draws, len(x), out.shape[1])
        mean = mean_log_softmax(draws, 0)
        self._last = mean.detach(), draws.detach()
        return mean

    def wrong(self, logits: Tensor, y: Tensor) -> Tensor:
        """True where the decision is not ``y``, ``(B,)``; of an attack's last logits: where surely.

        What :meth:`predict` returns is decided as it stands.
        """
        if self._last is not None and self._last[0].data_ptr() == logits.data_ptr():
            return surely_wrong(self._last[1], y, self.sure)
        return super().wrong(logits, y)

    def gradient(self, head: Tensor, slope: Tensor | None, u: Tensor, keep: bool = False) -> Tensor:
        self.backwards += (self.draws - 1) * len(u)
        return super().gradient(head, slope, u, keep)

    def predict(self, x: Tensor) -> Tensor:
        """Logs of mean probabilities, ``(B, C)``, each a function of its example alone."""
        x = x.to(self.device)
        done = []
        for row in x.split(1) if len(x) else ():
            numbers = row.detach().cpu().double().contiguous().numpy().tobytes()
            with torch.no_grad(), seeded(crc32(numbers, self.seed & 0xFFFFFFFF), self.device):
                done.append(self._alone(row))
        return torch.cat(done) if done else x.new_empty(0, 0)

    def _alone(self, row: Tensor) -> Tensor:
        """One example (1, ...), in as many forwards as memory demands."""
        size = min(self.draws, super().batch_size(row))
        parts: list[Tensor] = []
        left = self.draws
        while left:
            try:
                parts.append(self.once(repeated(row, min(size, left))))
            except MEMORY_ERRORS as error:
                size = super().shrink(error, size)
                continue
            left -= len(parts[-1])
        return mean_log_softmax(torch.cat(parts).unsqueeze(1), 0)


def mean_log_softmax(logits: Tensor, dim: int) -> Tensor:
    """Log of the mean over ``dim`` of the softmax over the last dimension.

    Equal logits along ``dim`` give exactly their log-softmax. Infinite logits are read as huge
    finite ones; NaN stays NaN.
    """
    wide = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
    each = wide.clamp(-1e30, 1e30).log_softmax(-1)
    top = each.detach().amax(dim, keepdim=True)
    return (each - top).exp().mean(dim).log() + top.squeeze(dim)


def surely_wrong(draws: Tensor, y: Tensor, sure: float) -> Tensor:
    """Whether the mean softmax of logits ``draws`` (n, B, C) decides wrongly beyond luck, ``(B,)``.

    The probability of the leading other class less the label's must have a mean of at least
    ``sure`` standard errors; without randomness, or at 0, this is the decision itself. NaN is
    wrong.
    """
    mean = mean_log_softmax(draws, 0)
    decided = wrong(mean, y)
    if not sure or len(draws) < 2 or not len(y):
        return decided
    other = mean.scatter(1, y.unsqueeze(1), -torch.inf).argmax(1)
    p = draws.double().clamp(-1e30, 1e30).softmax(2)
    pick = torch.stack([other, y], 1).expand(len(draws), -1, -1)
    lead = p.gather(2, pick).diff(dim=2).squeeze(2).neg()
    error = lead.std(0) / len(draws) ** 0.5
    surely: Tensor = decided & ~(lead.mean(0) < sure * error)
    return surely


def repeated(x: Tensor, times: int) -> Tensor:
    """``(B, ...)`` -> ``(times * B, ...)``, the whole batch again and again; a fresh tensor."""
    return x.repeat(times, *[1] * (x.dim() - 1))


def check_draws(draws: int, sure: float) -> None:
    """Refuse numbers of draws below 1, and margins of error that are not 0 or more."""
    if draws < 1:
        raise InputError(f"draws is {draws}: give 1 or more")
    if not sure >= 0:
        raise InputError(f"sure is {sure}: give 0 or a number of standard errors")
