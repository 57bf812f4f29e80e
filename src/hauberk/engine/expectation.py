"""Models that draw random numbers: attack their expectation, judge their mean.

A stochastic model must draw from torch's global generators. Inside :func:`seeded` they are seeded,
and afterwards they stand where they stood. Those of numpy and Python are left alone: a model that
draws from them cannot be repeated, of which an evaluation warns.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Literal, Self
from zlib import crc32

import torch
from torch import Tensor, nn

from hauberk.engine.objective import Found, Objective
from hauberk.engine.victim import Victim
from hauberk.errors import InputError
from hauberk.maths.losses import wrong
from hauberk.maths.rows import Rows

SURE = 2.0
"""Standard errors by which a stochastic model must be wrong for an attack to stop."""


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators (CPU, and ``device``'s) inside the block, restore them after.

    What runs inside is reproducible on one device and one release of torch.
    """
    device = torch.device(device)
    cuda = []
    if device.type == "cuda":
        cuda = [torch.cuda.current_device() if device.index is None else device.index]
    # Other devices' generators are neither saved nor seeded: torch.manual_seed would seed them all.
    with torch.random.fork_rng(devices=cuda):
        _seed(seed, cuda)
        yield


def _seed(seed: int, cuda: list[int]) -> None:
    torch.default_generator.manual_seed(seed & (2**63 - 1))
    for index in cuda:
        torch.cuda.default_generators[index].manual_seed(seed & (2**63 - 1))


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
    told: Tensor = decided & ~(lead.mean(0) < sure * error)
    return told


def decided(victim: Victim, logits: Tensor, y: Tensor, draws: int, sure: float) -> Tensor:
    """Whether draws of logits (draws * B, C) on a victim are wrong together, ``(B,)`` bool.

    By the mean softmax, where it is wrong beyond luck; on a victim that votes, where half of the
    draws or more are wrong.
    """
    if draws == 1:
        return victim.wrong(logits, y)
    if victim.plain or isinstance(victim, Averaged):
        return surely_wrong(logits.view(draws, len(y), logits.shape[1]), y, sure)
    each = victim.wrong(logits, y.repeat(draws))
    return each.view(draws, -1).sum(0) * 2 >= draws


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
        _check(draws, sure)
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

    def shrink(self, error: RuntimeError, size: int) -> int:
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

    def gradient(self, head: Tensor, slope: Tensor | None, u: Tensor) -> Tensor:
        self.backwards += (self.draws - 1) * len(u)
        return super().gradient(head, slope, u)

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
            except RuntimeError as error:
                size = super().shrink(error, size)
                continue
            left -= len(parts[-1])
        return mean_log_softmax(torch.cat(parts).unsqueeze(1), 0)


@dataclass(frozen=True)
class Expectation(Objective):
    """The mean loss over several draws of a stochastic model, or of a random transform.

    All draws go through the model in one stacked forward, and the gradient is that of the mean.
    The victim counts as fooled where the mean of its softmax over the draws decides wrongly, by
    more than luck; on a victim that votes, where half of the draws or more are wrong.
    Source: Athalye, Engstrom, Ilyas & Kwok 2018, section 2 (expectation over transformation).

    Args:
        draws: passes per evaluation, 1 or more.
        transform: random inputs ``(N, ...)`` from inputs ``(N, ...)``, differentiable; drawn anew
            for each row, before the model. It should draw from torch's global generators: run
            inside ``with seeded(seed):``, or on an :class:`Averaged` victim, to repeat a run.
        mean: what is averaged: ``loss``, as published, or ``probabilities`` (the loss of the log
            of the mean softmax, which is what decides). On an MNIST network behind Gaussian noise
            of 0.3 or 0.4, 150 examples, 10 draws, PGD and APGD of 20 steps with ``ce`` and
            ``margin``, the loss left fewer robust in ten of twelve settings, by 0.6 to 4 points,
            more in two, by 1.3 and 6; a single draw left 19 to 53 points more.
        sure: as of :class:`Averaged`.
    """

    draws: int = 20
    transform: Callable[[Tensor], Tensor] | None = None
    mean: Literal["loss", "probabilities"] = "loss"
    sure: float = SURE

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.draws, self.sure)
        if self.mean not in ("loss", "probabilities"):
            raise InputError(f"unknown mean '{self.mean}': choose loss or probabilities")
        if self.transform is not None and not callable(self.transform):
            raise InputError("transform must be a function from inputs (N, ...) to inputs (N, ...)")

    @property
    def samples(self) -> int:
        return self.draws

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> Found:
        n, rows = self.draws, repeated(x, self.draws)
        if self.transform is not None:
            rows = self.transform(rows)
            if not isinstance(rows, Tensor) or len(rows) != n * len(x):
                raise InputError("transform must return one input for each that it was given")
        ask, counted = victim.logits, 1
        if isinstance(victim, Averaged):
            # It would draw for each of these draws again.
            ask, counted = victim.once, victim.draws
        logits = ask(rows, self.soften)
        if torch.is_grad_enabled() and x.requires_grad:
            # The victim counts one pass back per point, or its own number of draws.
            victim.backwards += (n - counted) * len(x)
        fooled = decided(victim, logits.detach(), y, n, self.sure)
        if self.mean == "probabilities":
            stacked = logits.view(n, len(x), logits.shape[1])
            return self._found(mean_log_softmax(stacked, 0), y, target, 1, fooled)
        return self._found(logits, y, target, n, fooled)

    def _found(
        self, logits: Tensor, y: Tensor, target: Tensor | None, n: int, fooled: Tensor
    ) -> Found:
        """The mean of the losses of ``logits`` (n B, C) over n."""
        terms = self.terms(
            logits, *(v.repeat(n) for v in ((y,) if target is None else (y, target)))
        )
        share = None if n == 1 else torch.full_like(terms.loss, 1 / n)
        return Found(terms.loss.view(n, -1).mean(0), fooled, *terms.back(share))

    def __str__(self) -> str:
        """As the manifest records it: functions by name, so that a run resumed finds the same."""
        told = (f"{f.name}={_name(getattr(self, f.name))}" for f in fields(self))
        return f"{type(self).__name__}({', '.join(told)})"


def repeated(x: Tensor, times: int) -> Tensor:
    """``(B, ...)`` -> ``(times * B, ...)``, the whole batch again and again; a fresh tensor."""
    return x.repeat(times, *[1] * (x.dim() - 1))


def _name(value: object) -> str:
    return (
        str(getattr(value, "__qualname__", None) or repr(value))
        if callable(value)
        else f"{value!r}"
    )


def _check(draws: int, sure: float) -> None:
    if draws < 1:
        raise InputError(f"draws is {draws}: give 1 or more")
    if not sure >= 0:
        raise InputError(f"sure is {sure}: give 0 or a number of standard errors")
