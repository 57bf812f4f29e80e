"""One perturbation for a whole data set: made on some images, tested on others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.attacks.pgd import PGD
from hauberk.engine.state import Response
from hauberk.errors import InputError
from hauberk.evaluation.core.judge import decide, measure
from hauberk.evaluation.core.preflight import screen
from hauberk.maths.rng import Draws
from hauberk.objectives.combined import Combined
from hauberk.objectives.minmax import Average, Fixed
from hauberk.objectives.problem import Problem
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.notation import threat as read_threat
from hauberk.threats.shared import Shared, SharedRegion
from hauberk.victims.victim import Victim


@dataclass(frozen=True)
class Universal:
    """A perturbation for every input.

    Attributes:
        delta: ``(...)``, inside the ball.
        threat: the ball, shared; inputs are clipped to the box after it is added.
        losses: mean loss of each minibatch on the way.
        forwards, backwards: passes spent.
    """

    delta: Tensor
    threat: Shared
    box: Box
    losses: tuple[float, ...]
    forwards: int
    backwards: int

    def apply(self, x: Tensor) -> Tensor:
        """Perturbed inputs, ``(B, ...)``."""
        lo, hi = self.box.bounds(x)
        return torch.clamp(x + self.delta.to(x), lo, hi)

    def test(
        self,
        model: nn.Module | Victim,
        images: Tensor,
        labels: Tensor,
        batch_size: int | None = None,
    ) -> "Tested":
        """What it does to inputs ``(N, ...)`` that it need not have seen, as the judge finds.

        Raises:
            InputError: for bad input, or another shape than the perturbation was made for.
        """
        if images.shape[1:] != self.delta.shape:
            raise InputError(
                f"the perturbation has shape {tuple(self.delta.shape)}, the inputs "
                f"{tuple(images.shape[1:])}: test it on inputs of its own shape"
            )
        victim = Victim.of(model, batch_size)
        x, y, _, victim = screen(victim, images, labels, self.box)
        x, y = x.to(victim.device), y.to(victim.device)
        points = self.apply(x)
        # The same perturbation for each, so each is a group of one.
        allowed, _ = measure(
            self.threat, x.unsqueeze(1), points.unsqueeze(1), self.box,
            self.delta.to(x).expand(len(x), *self.delta.shape),
        )  # fmt: skip
        before, was_wrong = decide(victim, x, y)
        after, now_wrong = decide(victim, points, y)
        return Tested(
            clean=1 - float(was_wrong.double().mean()),
            accuracy=1 - float((now_wrong & allowed).double().mean()),
            changed=float((before.argmax(1) != after.argmax(1)).double().mean()),
            wrong=(now_wrong & allowed).cpu(),
        )


@dataclass(frozen=True)
class Tested:
    """Accuracy on clean and perturbed inputs, the share whose class changed, and who is wrong."""

    clean: float
    accuracy: float
    changed: float
    wrong: Tensor = field(repr=False)


def universal(
    model: nn.Module | Victim,
    images: Tensor,
    labels: Tensor,
    threat: Threat | str,
    *,
    epochs: int = 5,
    minibatch: int = 100,
    attack: PGD | None = None,
    objective: Combined | None = None,
    box: Box | Sequence[Any] = (0.0, 1.0),
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Universal:
    """Make one perturbation that fools a model on as many inputs as possible, by minibatches.

    The classical setting: the ball alone bounds the perturbation, and inputs are clipped to the box
    after it is added (Moosavi-Dezfooli et al. 2017). Each minibatch is a group whose images share
    it, and one step of the attack is taken on it (Shafahi et al. 2020, algorithm 2); for few images
    and Wang et al. 2021's setting see ``group=`` of :func:`hauberk.minmax`.

    Args:
        images: ``(N, ...)``, floats in the box; labels: ``(N,)``.
        threat: an lp ball, or its notation.
        epochs: times that every image is used; minibatch: images behind each step.
        attack: PGD or a relative, whose ``steps`` are set to the number of minibatches; by default
            one with momentum 0.9 and steps of a tenth of the ball, on the margin up to 10: images
            that are fooled for good pull no more.
        objective: how the losses of a minibatch become one, e.g. with further models as domains;
            their average by default. Its weights start afresh with every minibatch.
        progress: called with minibatches done, in all, and the mean loss.

    Raises:
        InputError: for bad input, before anything is done.
    """
    for name, value in (("epochs", epochs), ("minibatch", minibatch)):
        if value < 1:
            raise InputError(f"{name} is {value}: give 1 or more")
    ball = read_threat(threat) if isinstance(threat, str) else threat
    if not isinstance(ball, Ball):
        raise InputError(f"a universal perturbation lies in an lp ball, not in {ball}")
    bounds, shared = Box.of(box), Shared(ball, clip=True)
    x, y, _, victim = screen(Victim.of(model, batch_size), images, labels, bounds, seed)
    steps = epochs * ceil(len(x) / minibatch)
    if attack is not None and (not isinstance(attack, PGD) or attack.targets):
        raise InputError(f"attack is {attack!r}: a stream takes PGD or a relative, without targets")
    if isinstance(objective, Fixed):
        raise InputError("minibatches differ in size: give Average or MinMax, not Fixed weights")
    # Few steps must be able to reach the edge of the ball.
    share = min(1.0, max(0.1, 2.5 / steps))
    attack = PGD(loss=_margin, step_share=share, momentum=0.9) if attack is None else attack
    own = attack.objective
    goal = objective or (own if isinstance(own, Combined) else Average(loss=own.loss))
    attack = replace(attack, loss=goal, steps=steps, random_start=False)
    before = victim.forwards, victim.backwards
    losses: list[Tensor] = []
    with victim.held(), goal.held(victim):
        walk = _Stream(attack, victim, shared, bounds, seed)
        for epoch in range(epochs):
            order = _shuffled(len(x), seed, epoch)
            for rows in order.split(minibatch):
                losses.append(walk.step(x[rows].to(victim.device), y[rows].to(victim.device)))
                if progress is not None:
                    progress(len(losses), steps, float(losses[-1]))
    return Universal(
        delta=walk.delta(), threat=shared, box=bounds, losses=tuple(torch.cat(losses).tolist()),
        forwards=victim.forwards - before[0], backwards=victim.backwards - before[1],
    )  # fmt: skip


class _Stream:
    """An attack on one slot whose group changes from step to step."""

    def __init__(self, attack: PGD, victim: Victim, threat: Shared, box: Box, seed: int) -> None:
        self.attack, self.victim, self.threat, self.box = attack, victim, threat, box
        self.draws = Draws.of(seed, torch.zeros(1, dtype=torch.int64, device=victim.device))
        self.state: Any = None
        self.region: SharedRegion | None = None

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on a minibatch ``x`` (M, ...); the loss before it, ``(1,)``."""
        region = self.threat.at(x.unsqueeze(0), self.box)
        # A minibatch whose pixels are all at one end of the box must not pin the perturbation.
        lo, hi = self.box.bounds(x)
        wide = (hi - lo).expand_as(region.lo)
        self.region = region = replace(region, lo=-wide, hi=wide.clone())
        problem = Problem(region=region, y=y.unsqueeze(0), target=None, draws=self.draws)
        if self.state is None:
            self.state = self.attack.start(problem)
        objective = self.attack.objective
        u = self.state.u.detach().requires_grad_(True)
        with torch.enable_grad():
            found = objective(
                self.victim, region.decode(u), problem.y, None, objective.start(problem)
            )
        grad = self.victim.gradient(found.head, found.slope, u)
        with torch.no_grad():
            response = Response(loss=found.loss, fooled=found.fooled, grad=grad)
            self.state.u = u.detach()
            self.state = self.attack.step(problem, self.state, response)
        return found.loss

    def delta(self) -> Tensor:
        """The perturbation where the attack stands, strictly in the ball."""
        assert self.region is not None
        return self.region.finalise(self.state.u)[0].detach()


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    from hauberk.maths.losses import margin

    return margin(logits, y).clamp(max=10.0)


def _shuffled(n: int, seed: int, epoch: int) -> Tensor:
    key = Draws.of(seed, torch.arange(n), epoch).key
    return key.argsort()
