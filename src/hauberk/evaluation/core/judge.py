"""The judge: decides what counts as broken, and trusts no attack.

It runs the model again on the point alone with its own dtype (TF32 and autocast off), takes the
decision, checks threat and box in float64 without slack, 8-bit images in whole steps. A tie breaks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.evaluation.core.precision import full_precision
from hauberk.maths.losses import margin
from hauberk.maths.losses import wrong as is_wrong
from hauberk.maths.rng import Draws
from hauberk.maths.rows import Rows
from hauberk.maths.seeding import seeded
from hauberk.maths.steps import per_example
from hauberk.objectives.domains import Domain
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Boundary, Victim

NUMBERS = 2**21
"""Most float64 numbers of a tensor made in passing: 16 MB, of which a distance takes a few."""


@dataclass
class Verdict(Rows):
    """One row per point.

    Attributes:
        broken: wrong and allowed.
        wrong: the model's decision is not the label (ties and NaN count as wrong), ``(B,)``.
        allowed: the point lies in the threat and in the box, ``(B,)``.
        margin: the label's logit less the largest other, ``(B,)`` float64; at most 0 when wrong.
        distance: from the clean input, in the threat's unit, ``(B,)`` float64.
        prediction: the class decided for, ``(B,)`` int64; -1 where several models decide.
        domains: of several domains, which are fooled in each draw, ``(B, draws, K)`` bool; then
            ``margin`` is that of the domain which holds out best, and ``domain_margins`` has all.

    Example:
        >>> from hauberk import Linf
        >>> x0, x, y = torch.tensor([[0.2, 0.4]]), torch.tensor([[0.3, 0.3]]), torch.tensor([1])
        >>> judge(Victim(torch.nn.Identity()), Linf(0.2), x0, x, y, Box()).broken  # a tie
        tensor([True])
    """

    broken: Tensor
    wrong: Tensor
    allowed: Tensor
    margin: Tensor
    distance: Tensor
    prediction: Tensor
    domains: Tensor | None = None
    domain_margins: Tensor | None = None


def judge(
    victim: Victim,
    threat: Threat,
    x0: Tensor,
    x: Tensor,
    y: Tensor,
    box: Box,
    witness: Tensor | None = None,
) -> Verdict:
    """Judge points of a model, which trusts nothing that a search says of them.

    Args:
        x0: clean inputs ``(B, ...)``; x: points, alike.
        y: labels ``(B,)``.
        witness: ``(B, ...)``, where a threat needs one to check a point.

    Example:
        >>> from hauberk import Linf
        >>> x0, x, y = torch.tensor([[0.2, 0.4]]), torch.tensor([[0.4, 0.2]]), torch.tensor([1])
        >>> verdict = judge(Victim(torch.nn.Identity()), Linf(0.1), x0, x, y, Box())
        >>> bool(verdict.wrong), bool(verdict.allowed), bool(verdict.broken)
        (True, False, False)
    """
    x0, x, y = (v.to(victim.device) for v in (x0, x, y))
    logits, wrong = decide(victim, x, y)
    allowed, distance = measure(threat, x0, x, box, witness)
    return Verdict(
        broken=wrong & allowed,
        wrong=wrong,
        allowed=allowed,
        margin=-victim.margin(logits, y),
        distance=distance,
        prediction=logits.argmax(1),
    )


def measure(
    threat: Threat, x0: Tensor, x: Tensor, box: Box, witness: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Which points lie in the threat, and how far away, ``(B,)`` each; in bounded memory."""
    each = x0[:1].numel() * threat.copies
    parts = max(1, min(len(x), -(-len(x) * each // NUMBERS)))
    own: Sequence[Tensor | None] = [None] * parts
    if witness is not None:
        if len(witness) != len(x):  # proves nothing: for the region to say
            parts = 1
        own = witness.tensor_split(parts)
    allowed, distance, rows = [], [], torch.arange(len(x0)).tensor_split(parts)
    for these, point, proof in zip(rows, x.tensor_split(parts), own, strict=True):
        region = threat.take(these).at(x0[these.to(x0.device)], box)
        allowed.append(region.contains(point, proof))
        distance.append(region.distance(point, proof))
    return torch.cat(allowed), torch.cat(distance)


def decide(victim: Victim, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits ``(B, C)`` at full precision, and whether they decide wrongly, ``(B,)``."""
    with victim.held(), full_precision(victim.device):
        logits = victim.predict(x)
    if not len(x):
        return x.new_zeros(0, 2), torch.zeros(0, dtype=torch.bool, device=x.device)
    return logits, victim.wrong(logits, y)


class Judge(ABC):
    """Decides what counts as broken in a run, and what is right on the clean inputs.

    Args:
        box: the valid range of the inputs.
    """

    box: Box

    def aims(self, y: Tensor, ids: Tensor) -> Tensor:
        """What points are judged by: the labels, or what the goal of a run makes of them."""
        return y

    @abstractmethod
    def clean(self, x: Tensor, y: Tensor, ids: Tensor) -> "CleanVerdict":
        """Decide the clean inputs of a block."""

    @abstractmethod
    def look(
        self, threat: Threat, x0: Tensor, points: Tensor, y: Tensor, ids: Tensor,
        witness: Tensor | None = None,
    ) -> Verdict:  # fmt: skip
        """Judge points as they are."""

    def __call__(
        self, threat: Threat, x0: Tensor, found: Outcome, y: Tensor, ids: Tensor
    ) -> tuple[Outcome, Verdict]:
        """Judge an outcome; a judge may return it with points that it has moved."""
        return found, self.look(threat, x0, found.points, y, ids, found.witness)


@dataclass(frozen=True)
class CleanVerdict:
    """What a judge finds on the clean inputs of a block.

    Attributes:
        correct: whether the models are right, ``(B,)`` bool.
        margin: the label's logit less the largest other, ``(B,)`` float64; the least of several.
        scale: largest logit: what margins are rounded by.
        columns: further columns of the clean part; ``tensors``: further tensors.
        logits: ``(B, C)`` of a single model, which attacks rank classes by.
    """

    correct: Tensor
    margin: Tensor
    scale: float
    columns: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None


@dataclass(frozen=True)
class PointJudge(Judge):
    """Judges points of one model: broken if it decides wrongly and the threat allows the point."""

    victim: Victim
    box: Box

    def aims(self, y: Tensor, ids: Tensor) -> Tensor:
        return y if self.victim.goal is None else self.victim.goal.aims(y, ids)

    def clean(self, x: Tensor, y: Tensor, ids: Tensor) -> CleanVerdict:
        """Decide clean inputs.

        Raises:
            InputError: for NaN logits.
        """
        x, y = x.to(self.victim.device), y.to(self.victim.device)
        aims = self.aims(y, ids.to(y.device))
        logits, wrong = decide(self.victim, x, aims)
        if self.victim.goal is not None:  # right is what has its own label
            wrong = is_wrong(logits, y)
        if bool(logits.isnan().any()):
            bad = int(ids[logits.isnan().any(1).cpu()][0])
            raise InputError(f"the model returns NaN logits on clean input {bad}: repair it first")
        return CleanVerdict(
            correct=~wrong.cpu(),
            margin=-self.victim.margin(logits, aims).cpu(),
            scale=largest(logits),
            columns={"prediction": logits.argmax(1).cpu().numpy()},
            logits=logits,
        )

    def look(
        self, threat: Threat, x0: Tensor, points: Tensor, y: Tensor, ids: Tensor,
        witness: Tensor | None = None,
    ) -> Verdict:  # fmt: skip
        return judge(self.victim, threat, x0, points, y, self.box, witness)


NUDGES = (1e-12, 1e-9, 1e-7, 1e-6, 1e-5)
"""Shares of its perturbation by which a point on the boundary may be moved outwards."""


@dataclass(frozen=True)
class RadiusJudge(PointJudge):
    """Judges the points of radius solvers; those within rounding of the boundary it moves outwards.

    A solver's point may lie so near to the boundary that the judge, who computes in other batches,
    sees it on the other side. Where nothing is broken the distance is inf.

    Args:
        boundary: where the model counts as wrong: at its decision, or at the soft margin
            (:meth:`hauberk.victims.victim.Victim.bounded`), in float64 of its logits.
    """

    boundary: Boundary = "decision"

    def clean(self, x: Tensor, y: Tensor, ids: Tensor) -> CleanVerdict:
        with self.victim.bounded(self.boundary):
            return super().clean(x, y, ids)

    def look(
        self, threat: Threat, x0: Tensor, points: Tensor, y: Tensor, ids: Tensor,
        witness: Tensor | None = None,
    ) -> Verdict:  # fmt: skip
        with self.victim.bounded(self.boundary):
            return super().look(threat, x0, points, y, ids, witness)

    def __call__(
        self, threat: Threat, x0: Tensor, found: Outcome, y: Tensor, ids: Tensor
    ) -> tuple[Outcome, Verdict]:
        # The judge measures: a point that is no number would have no place in its tensors.
        points = found.points.to(self.victim.device)
        finite = points.isfinite().flatten(1).all(1)
        clean = x0.to(points)
        points = torch.where(per_example(finite, points), points, clean)
        lo, hi = self.box.bounds(points)
        inside = ((points >= lo) & (points <= hi)).flatten(1).all(1)
        sound = found.fooled.to(finite.device) & finite & inside
        verdict = self.look(threat, x0, points, y, ids)
        for further in NUDGES:
            left = (sound & ~verdict.broken).nonzero().squeeze(1)
            if not len(left):
                break
            moved = clean[left] + (points[left] - clean[left]) * (1 + further)
            points[left] = moved.clamp(lo, hi)
            verdict = self.look(threat, x0, points, y, ids)
        broken = verdict.broken & finite & verdict.distance.isfinite()
        distance = torch.where(broken, verdict.distance, torch.inf)
        moved_to = replace(found, points=points.to(found.points.device))
        return moved_to, replace(verdict, broken=broken, distance=distance)


@dataclass(frozen=True)
class DomainJudge(Judge):
    """Judges one perturbation on several domains: models behind transformations, images of a group.

    A perturbation is broken if it fools all domains in every draw and the threat allows it; of a
    perturbation for each of several threats (:class:`~hauberk.threats.each.Each`), if one does.
    ``Verdict.domains`` holds every decision, K = domains * members of a group.

    Args:
        domains: what is to be fooled, each with its victim.
        seed: of the draws of random transformations, which are others than an attack's.
        draws: of random transformations; 1 is enough where nothing varies.
        each: whether the members are perturbations for several threats.
    """

    domains: Sequence[Domain]
    box: Box
    seed: int = 0
    draws: int = 1
    each: int = 0

    @property
    def device(self) -> torch.device:
        """Where threats are measured."""
        return Victim.of(self.domains[0].model).device  # type: ignore[arg-type]

    def clean(self, x: Tensor, y: Tensor, ids: Tensor) -> CleanVerdict:
        shown = x if not self.each else x.unsqueeze(1).repeat_interleave(self.each, 1)
        wrong, margins, scale = self.decisions(shown, y, ids)
        first = y if y.dim() == 1 else y[:, 0]
        groups = {} if y.dim() == 1 else {"labels": y.cpu(), "ids": ids}
        return CleanVerdict(
            correct=~wrong.flatten(1).any(1),
            margin=margins.flatten(1).amin(1) if len(first) else margins.flatten(1)[:, 0],
            scale=scale,
            tensors={"wrong": wrong.to(torch.uint8), "margins": margins, **groups},
        )

    def look(
        self, threat: Threat, x0: Tensor, points: Tensor, y: Tensor, ids: Tensor,
        witness: Tensor | None = None,
    ) -> Verdict:  # fmt: skip
        points = points.to(self.device)
        witness = None if witness is None else witness.to(self.device)
        allowed, distance = measure(threat, x0.to(self.device), points, self.box, witness)
        allowed = allowed.cpu()
        wrong, margins, _ = self.decisions(points, y, ids)
        wrong &= allowed.view(-1, 1, 1)
        # Members that are threats: one that fools all is enough. Members of a group: all of them.
        if self.each:
            apart = (len(wrong), wrong.shape[1], len(self.domains), self.each)
            fooled = wrong.view(apart).all(2).any(2).all(1)
            most = margins.view(apart).amax(2).amin(2).amax(1)
        else:
            fooled, most = wrong.flatten(1).all(1), margins.flatten(1).amax(1)
        return Verdict(
            broken=fooled & allowed,
            wrong=fooled,
            allowed=allowed,
            margin=most,
            distance=distance.cpu(),
            prediction=torch.full((len(points),), -1),
            domains=wrong,
            domain_margins=margins,
        )

    def decisions(self, points: Tensor, y: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, float]:
        """What the models find wrong, and their margins, ``(B, draws, K)``; the largest logit."""
        if y.dim() == 1 and self.each:
            y = y.unsqueeze(1).expand(-1, self.each)
        first = ids if ids.dim() == 1 else ids[:, 0]
        members = y.shape[1] if y.dim() == 2 else 1
        flat = points.flatten(0, 1) if y.dim() == 2 else points
        labels = y.reshape(-1)
        draws = self.draws if any(domain.varies for domain in self.domains) else 1
        keys = Draws.of(self.seed, first.repeat_interleave(members), 0x6A756467)
        keys = Draws(key=keys.key + torch.arange(members).repeat(len(first)))
        found = [
            self._domain(domain, number, place, flat, labels, keys)
            for number in range(draws)
            for place, domain in enumerate(self.domains)
        ]
        shape = (draws, len(self.domains), -1, members)
        wrong, margins = (
            torch.stack(parts).view(shape).permute(2, 0, 1, 3).flatten(2).contiguous()
            for parts in ([off for off, _, _ in found], [gap for _, gap, _ in found])
        )
        return wrong, margins, max(scale for _, _, scale in found)

    def _domain(
        self, domain: Domain, number: int, place: int, flat: Tensor, labels: Tensor, keys: Draws
    ) -> tuple[Tensor, Tensor, float]:
        """Decisions and margins of one domain in one draw, ``(B * members,)``."""
        victim = domain.model
        assert isinstance(victim, Victim)
        wrong = [torch.zeros(0, dtype=torch.bool)]
        margins = [torch.zeros(0, dtype=torch.float64)]
        scale, size = 0.0, max(1, victim.batch_size(flat[:1]))
        # Other numbers than the attack's, and each domain its own.
        fresh = crc32(f"judge {self.seed} {number} {place}".encode())
        with seeded(fresh, victim.device), torch.no_grad():
            for rows in torch.arange(len(flat)).split(size) if len(flat) else ():
                own = Draws(key=keys.split(place).key[rows].to(victim.device))
                turn = torch.full_like(own.key, number)
                x = flat[rows.to(flat.device)].to(victim.device)
                shown = domain.but(draws=1).inputs(x, own, turn)
                wants = labels[rows.to(labels.device)].to(victim.device)
                logits, off = decide(victim, shown, wants)
                wrong.append(off.cpu())
                margins.append(-margin(logits.double(), wants).cpu())
                scale = max(scale, largest(logits))
        return torch.cat(wrong), torch.cat(margins), scale


def largest(logits: Tensor) -> float:
    """The largest finite logit in absolute value; 0 without any."""
    finite = logits.detach().double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs()
    return float(finite.amax()) if finite.numel() else 0.0
