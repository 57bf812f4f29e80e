"""Attacks of Foolbox 3 behind the interface of this package."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.engine.method import Job, Kind, Method
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.maths.rng import mix
from hauberk.maths.seeding import seeded
from hauberk.maths.steps import per_example
from hauberk.objectives.base import Objective
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Region, Threat
from hauberk.victims.memory import MEMORY_ERRORS, out_of_memory
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class FoolboxAttack(Method):
    """An attack of Foolbox 3 (Rauber et al. 2020), on balls: ``FoolboxAttack("L2DeepFoolAttack")``.

    Attacks with a fixed radius get that of the threat. Those that minimise the distance get it to
    stop at, if they minimise the threat's own norm, and otherwise run to their end. Their points
    are never projected onto the threat: a point outside of it by more than the rounding of floats
    (``slack``) counts as a failure, and the best point inside stands. Every pass that Foolbox
    makes is counted, evenly over the examples that it was given together.

    Foolbox works in float32, and on a batch as one: results depend on ``batch_size`` and on the
    order of the examples, unlike those of our own attacks, but repeat with the seed. Examples that
    are already fooled are not handed to it, ``stop`` or not. Warm starts are not used.

    Args:
        method: a Foolbox attack, or the name of a class in ``foolbox.attacks``.
        eps: radius to tell Foolbox instead of the threat's, in the attack's own norm. An attack of
            fixed radius in another norm than the threat's needs it.
        loss: what ranks the points found, as of any attack; Foolbox has its own.
        restarts: runs per example; a failed one is tried again.
        soften: width of softened gradients; 0 for the model's own.
        slack: how far outside, relative to the radius, a point may lie by rounding; it is moved
            inside by as much before the model is asked again.
        planned: passes per attempt to expect. An estimate only: nobody but the method knows its
            passes.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> attack = FoolboxAttack("LinfFastGradientAttack")
        >>> bool((attack(model, images, labels, Linf(0.1)).distance <= 0.1).all())
        True
    """

    kind = Kind.FOREIGN

    method: Any = field(kw_only=False)
    eps: float | None = field(default=None, kw_only=False)
    loss: Any = "margin"
    restarts: int = 1
    soften: float = 0.0
    slack: float = 1e-5
    planned: int = 200

    def __post_init__(self) -> None:
        if self.restarts < 1:
            raise InputError(f"restarts is {self.restarts}: give 1 or more")
        if not self.soften >= 0:
            raise InputError(f"soften is {self.soften}: give 0 (off) or a positive width")
        _ = self._objective  # refuses an unknown loss now, not when it runs
        if self.eps is not None and not 0 <= self.eps < inf:
            raise InputError(f"eps is {self.eps}: give a finite radius, 0 or more, or leave it out")
        if not 0 <= self.slack < 1e-2:
            raise InputError(f"slack is {self.slack}: give a rounding error, below 0.01")
        if isinstance(self.method, str):
            made = getattr(load().attacks, self.method, None)
            if made is None:
                raise InputError(f"foolbox.attacks has no '{self.method}': see its documentation")
            object.__setattr__(self, "method", made())

    @property
    def passes(self) -> int:
        return self.planned

    def attempts(self, classes: int) -> int:
        return self.restarts

    @property
    def _objective(self) -> Objective:
        if isinstance(self.loss, Objective):
            return replace(self.loss, soften=self.soften or self.loss.soften)
        return Objective(self.loss, soften=self.soften)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "method": repr(self.method)}

    def check(self, job: Job) -> None:
        scalars(job.box)
        self._eps(load(), job.threat)

    def run(self, victim: Victim, job: Job) -> Outcome:
        """Attack the examples in a ball.

        Raises:
            InputError: if Foolbox is not installed, the threat is no ball, the box has no single
                bounds, or a method of fixed radius measures another norm and ``eps`` is left out.
        """
        if victim.goal is not None:
            raise InputError(f"Foolbox attacks look for any wrong class, not for {victim.goal}")
        library = load()
        bounds = scalars(job.box)
        eps = self._eps(library, job.threat)
        job = job.on(victim.device)
        x, y = job.x, job.y
        region = job.threat.at(x, job.box)
        n, size = len(x), victim.batch_size(x[:1]) if len(x) else 1
        tally = _Tally(region, n, self._objective)
        victim.top_label = int(y.max()) if n else 0
        try:
            with victim.held():
                for rows in torch.arange(n, device=x.device).split(size) if n else ():
                    key = _key(job.seed, job.stream, int(job.example_ids[int(rows[0])]))
                    try:
                        self._batch(library, victim, region, tally, rows, y, bounds, eps, key)
                    except MEMORY_ERRORS as error:
                        if not out_of_memory(error):
                            raise
                        raise InputError(
                            f"memory runs out in {self.method!r} with batches of {size}: give a "
                            "smaller batch_size"
                        ) from error
                    if job.progress is not None:
                        job.progress(int(rows[-1]) + 1, n)
        finally:
            victim.top_label = 0
        return tally.outcome()

    def _eps(self, library: Any, threat: Threat) -> float | None:
        """The radius for Foolbox, in the norm of its attack."""
        if not isinstance(threat, Ball):
            raise InputError(f"{threat} is no ball: Foolbox attacks run on lp balls")
        if threat.fit is not None:
            raise InputError(f"Foolbox attacks change all features alike, not as {threat} says")
        method = self.method
        while hasattr(method, "attack") and hasattr(method, "times"):  # a repeated attack
            method = method.attack
        if self.eps is not None:
            return self.eps
        try:
            p = getattr(method.distance, "p", None)
        except (AttributeError, ValueError):
            p = None
        if p == threat.p:
            return threat.eps
        if isinstance(method, library.attacks.base.FixedEpsilonAttack):
            raise InputError(
                f"{type(method).__name__} has a fixed radius in another norm than {threat}: "
                "give eps= in its own norm"
            )
        return None

    def _batch(
        self, library: Any, victim: Victim, region: Region, tally: "_Tally", rows: Tensor,
        y: Tensor, bounds: tuple[float, float], eps: float | None, key: int,
    ) -> None:  # fmt: skip
        """All attempts on the examples ``rows`` (N,)."""
        around = region.take(rows)
        start = around.finalise(around.start())
        with tally.counted(victim, rows):
            tally.evaluate(victim, rows, start, y, 0)
        for attempt in range(self.restarts):
            rows = rows[~tally.fooled[rows]]
            if not len(rows):
                return
            around = region.take(rows)
            given = around.x0.float().clamp(*bounds)
            model = library.PyTorchModel(
                _Counted(victim, self.soften).eval(), bounds=bounds, device=victim.device
            )
            with tally.counted(victim, rows):
                with _seeded(_key(key, attempt), victim.device), torch.enable_grad():
                    found = self._craft(library, model, given, y[rows], eps)
                # What Foolbox left as it was is the input itself, in its own dtype.
                found = torch.where(found == given, around.x0, found.to(around.x0))
                beyond = around.violation(found)
                tally.evaluate(victim, rows, self._inside(around, found), y, attempt, beyond)

    def _craft(self, library: Any, model: Any, x: Tensor, y: Tensor, eps: float | None) -> Tensor:
        try:
            criterion = library.criteria.Misclassification(y)
            found: Tensor = self.method(model, x, criterion, epsilons=eps)[0]
            return found.detach()
        except ValueError as error:
            # One input without a starting point fails its whole batch: try the others alone.
            if "init_attack failed" not in str(error):
                raise
        if len(x) == 1:
            return x
        pairs = zip(x.split(1), y.split(1), strict=True)
        return torch.cat([self._craft(library, model, one, label, eps) for one, label in pairs])

    def _inside(self, region: Region, found: Tensor) -> Tensor:
        """The points that lie in the threat but for rounding, sealed; clean inputs elsewhere."""
        inside = region.distance(found) <= region.radius * (1 + self.slack)
        kept = torch.where(per_example(inside, found), found, region.x0)
        return region.finalise(region.project_(kept))


class _Counted(nn.Module):
    """The victim as a module: its passes are counted, backwards too."""

    def __init__(self, victim: Victim, soften: float) -> None:
        super().__init__()
        self.victim, self.soften = victim, soften

    def forward(self, x: Tensor) -> Tensor:
        logits = self.victim.logits(x, self.soften)
        if logits.requires_grad:
            logits.register_hook(self.back)
        return logits.to(x.dtype)

    def back(self, grad: Tensor) -> None:
        self.victim.backwards += len(grad)


class _Tally:
    """What was found and spent so far, one row per example."""

    def __init__(self, region: Region, n: int, objective: Objective) -> None:
        self.region, self.objective = region, objective
        self.points = region.start()
        self.loss = torch.full((n,), -inf, dtype=self.points.dtype, device=self.points.device)
        self.fooled = torch.zeros(n, dtype=torch.bool, device=self.points.device)
        self.attempt = torch.zeros(n, dtype=torch.int64, device=self.points.device)
        self.violation = torch.full_like(self.loss, torch.nan, dtype=torch.float64)
        self.spent = torch.zeros(n, 2, dtype=torch.int64)

    def evaluate(
        self, victim: Victim, rows: Tensor, u: Tensor, y: Tensor, attempt: int,
        beyond: Tensor | None = None,
    ) -> None:  # fmt: skip
        """Run the model at points ``u`` of the examples ``rows``; keep those that are better.

        ``beyond`` (N,): how far outside they lay before; None where nothing was searched yet.
        """
        with torch.no_grad():
            found = self.objective(victim, u, y[rows], None, None)
        loss = found.loss.to(self.loss.dtype)
        hit = found.fooled & ~self.fooled[rows]
        # NaN fools, and is worth keeping; a hit is never given up.
        better = hit | ((loss > self.loss[rows]) & (found.fooled | ~self.fooled[rows]))
        better |= self.loss[rows] == -inf
        if beyond is not None:
            # Of a search that found nothing inside, too.
            ended = better | self.violation[rows].isnan()
            self.violation[rows[ended]] = beyond[ended]
        chosen = rows[better]
        self.points[chosen], self.loss[chosen] = u[better], loss[better]
        self.fooled[chosen], self.attempt[chosen] = found.fooled[better], attempt

    @contextmanager
    def counted(self, victim: Victim, rows: Tensor) -> Iterator[None]:
        """Bill the passes made inside the block to the examples ``rows``, evenly."""
        before = victim.forwards, victim.backwards
        yield
        after = victim.forwards, victim.backwards
        for column in range(2):
            each, rest = divmod(after[column] - before[column], len(rows))
            share = torch.full((len(rows),), each)
            share[:rest] += 1
            self.spent[rows.cpu(), column] += share

    def outcome(self) -> Outcome:
        return Outcome(
            points=self.points, loss=self.loss, fooled=self.fooled,
            distance=self.region.distance(self.points), attempt=self.attempt,
            forwards=self.spent[:, 0], backwards=self.spent[:, 1], violation=self.violation,
        )  # fmt: skip


def load() -> Any:
    """The library, or an InputError that says how to get it."""
    try:
        return import_module("foolbox")
    except ImportError as error:
        raise InputError("Foolbox is not installed: pip install 'hauberk[foolbox]'") from error


def scalars(box: Box) -> tuple[float, float]:
    """The box's bounds as two numbers, never wider in float32.

    Raises:
        InputError: if they differ between features, or are infinite.
    """
    lo, hi = (edge.reshape(-1) for edge in box.bounds(torch.zeros(1)))
    if not bool(
        (lo == lo[0]).all() & (hi == hi[0]).all() & lo.isfinite().all() & hi.isfinite().all()
    ):
        raise InputError(f"the box is {box}: Foolbox needs one finite lower and one upper bound")
    return float(lo[0]), float(hi[0])


def _key(*parts: int) -> int:
    """One seed from several numbers."""
    key = torch.zeros(1, dtype=torch.int64)
    for part in parts:
        key = mix(key + part + 1)
    return int(key) % 2**63


@contextmanager
def _seeded(key: int, device: torch.device) -> Iterator[None]:
    """The global generators, which Foolbox draws from, seeded; afterwards as they were."""
    with seeded(key, device):
        kept = np.random.get_state()  # noqa: NPY002
        np.random.seed(key % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(kept)  # noqa: NPY002
