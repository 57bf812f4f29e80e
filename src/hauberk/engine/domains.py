"""Domains: what one perturbation has to beat at once, and the part that all their objectives share.

A domain is a model, a transformation of the input, or both. Where the threat lets several images
share one perturbation (:class:`hauberk.threats.Shared`), or moves one perturbation for each of
several threats (:class:`hauberk.threats.Each`), every such member is a domain of its own, times
the others.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn

from hauberk.engine.expectation import SURE, decided
from hauberk.engine.objective import Found, Objective
from hauberk.engine.state import Problem
from hauberk.engine.victim import Victim
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.rows import Rows
from hauberk.transforms.base import apply, is_random, named


@dataclass(frozen=True, eq=False)
class Domain:
    """One thing to beat: a model behind a transformation. Subclasses may override :meth:`inputs`.

    Args:
        model: a module or a victim; None for the one that the attack is called on.
        transform: inputs ``(N, ...)`` to inputs ``(N, ...)``, differentiable; None for none. One
            whose attribute ``random`` is True is called with ``(x, draws, number)`` and takes its
            random numbers from there (:mod:`hauberk.transforms`); others that are random draw
            from torch's global generators.
        draws: passes over which the loss is averaged, for a random transform.
        name: for tables; made from the others if left out.

    Raises:
        InputError: if the model or the transform is none, or draws is below 1.
    """

    model: nn.Module | Victim | None = None
    transform: Callable[..., Tensor] | None = None
    draws: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if self.model is not None and not isinstance(self.model, nn.Module | Victim):
            raise InputError(f"a domain's model must be a torch.nn.Module, not {self.model!r}")
        if self.transform is not None and not callable(self.transform):
            raise InputError(f"a domain's transform must be a function, not {self.transform!r}")
        if self.draws < 1:
            raise InputError(f"draws is {self.draws}: give 1 or more")

    @classmethod
    def of(cls, given: Any) -> "Domain":
        """A domain as it is, or from a model (any ``nn.Module``) or a transformation."""
        if isinstance(given, Domain):
            return given
        if isinstance(given, nn.Module | Victim):
            return cls(model=given)
        if callable(given):
            return cls(transform=given)
        raise InputError(f"{given!r} is no domain: give a model, a transformation or a Domain")

    def but(self, **changes: Any) -> Self:
        """The same domain, of the same kind, with some attributes changed."""
        other = copy(self)
        for name, value in changes.items():
            object.__setattr__(other, name, value)
        return other

    def inputs(self, x: Tensor, draws: Draws, number: Tensor) -> Tensor:
        """What the model is shown for inputs ``x`` (N, ...): ``(self.draws * N, ...)``.

        Args:
            draws: random streams, one for each input; ``number`` (N,) tells evaluations apart.
        """
        n = self.draws
        x = x if n == 1 else x.repeat(n, *[1] * (x.dim() - 1))
        if self.transform is None:
            return x
        each = Draws(key=draws.key.repeat(n))
        turn = torch.arange(n, device=number.device).repeat_interleave(len(number))
        shown = apply(self.transform, x, each, number.repeat(n) * n + turn)
        if not isinstance(shown, Tensor) or len(shown) != len(x):
            raise InputError(f"transform {self} must return one input for each that it was given")
        return shown

    def __str__(self) -> str:
        if self.name:
            return self.name
        model = (
            "" if self.model is None else type(getattr(self.model, "model", self.model)).__name__
        )
        shown = "" if self.transform is None else named(self.transform)
        return " ".join(part for part in (model, shown) if part) or "model"


def product(
    models: Sequence[nn.Module | Victim],
    transforms: Sequence[Callable[..., Tensor]],
    draws: int = 1,
) -> list[Domain]:
    """Every model behind every transformation, the transformations changing fastest."""
    return [
        Domain(model, transform, draws if is_random(transform) else 1)
        for model in models
        for transform in transforms
    ]


@dataclass
class Weighing(Rows):
    """Where the weighing of domains stands.

    Attributes:
        w: domain weights ``(S, K)`` on the simplex, those that the next gradient takes.
        seen: evaluations so far, ``(S,)`` int64.
        draws: the seats' random numbers.
    """

    w: Tensor
    seen: Tensor
    draws: Draws


@dataclass(frozen=True)
class Combined(Objective):
    """Losses of several domains made one by :meth:`weigh`, in one forward per domain.

    Args:
        domains: models, transformations or :class:`Domain`, in any mixture; by default the model
            that the attack is called on, alone (the members of a shared perturbation are domains
            anyway).
        loss: of each domain, as of :class:`~hauberk.engine.objective.Objective`; ``cw``, the
            margin up to 50, as published by Wang et al. 2021.
        sure: standard errors by which the draws of a random domain must be wrong to count.

    Raises:
        InputError: for an empty list of domains.
    """

    domains: Sequence[Any] | None = None
    loss: str | Callable[..., Tensor] = field(default="cw", kw_only=True)
    targeted: bool = field(default=False, kw_only=True)
    soften: float = field(default=0.0, kw_only=True)
    sure: float = field(default=SURE, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.domains is not None and not list(self.domains):
            raise InputError("no domain: give at least one model or transformation")
        _ = self.parts

    @abstractmethod
    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        """From the domains' losses ``(S, K)``: the objective's value ``(S,)`` and new weights."""

    @property
    def any_counts(self) -> bool:
        """Whether one domain that is fooled is enough; otherwise all must be."""
        return False

    @cached_property
    def parts(self) -> tuple[Domain, ...]:
        """The domains, members aside."""
        return (Domain(),) if self.domains is None else tuple(map(Domain.of, self.domains))

    @cached_property
    def _victims(self) -> dict[int, Victim]:
        """One victim for each distinct model of the domains."""
        found: dict[int, Victim] = {}
        for part in self.parts:
            if part.model is not None and id(part.model) not in found:
                found[id(part.model)] = Victim.of(part.model)
        return found

    @property
    def samples(self) -> int:
        return sum(part.draws for part in self.parts)

    def passes(self, victim: Victim) -> int:
        owners = [self._victims.get(id(part.model), victim) for part in self.parts]
        return sum(part.draws * own.draws for part, own in zip(self.parts, owners, strict=True))

    @contextmanager
    def held(self, victim: Victim) -> Iterator[None]:
        """The domains' models in eval mode, and frozen, for the time of the block."""
        with ExitStack() as stack:
            for other in self._victims.values():
                if other.device != victim.device:
                    raise InputError(
                        f"the models are on {victim.device} and {other.device}: move them together"
                    )
                other.top_label = victim.top_label
                stack.enter_context(other.held())
            yield

    def start(self, problem: Problem) -> Weighing:
        many = len(self.parts) * (problem.y.shape[1] if problem.y.dim() == 2 else 1)
        x0 = problem.region.x0
        return Weighing(
            w=x0.new_full((len(problem.y), many), 1 / many),
            seen=torch.zeros(len(problem.y), dtype=torch.int64, device=x0.device),
            draws=problem.draws,
        )

    def traced(self, state: Rows | None) -> Tensor | None:
        assert isinstance(state, Weighing)
        return state.w

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> Found:
        assert isinstance(weights, Weighing)
        seats, members = len(x), y.shape[1] if y.dim() == 2 else 1
        draws, seen = weights.draws, weights.seen
        if y.dim() == 2:
            x, y = x.flatten(0, 1), y.flatten()
            draws, seen = _of_members(draws, members), seen.repeat_interleave(members)
            target = None if target is None else target.repeat_interleave(members)
        logits, wrong = self._ask(victim, x, y, draws, seen)
        if torch.is_grad_enabled():
            victim.backwards -= victim.draws * seats  # which it will count for one domain
        times = [v.repeat(self.samples) for v in ((y,) if target is None else (y, target))]
        terms = self.terms(logits, *times)
        # Rows come as (domain, draw, seat, member); weights as (seat, domain, member).
        counts = [part.draws for part in self.parts]
        blocks = zip(terms.loss.split([len(x) * n for n in counts]), counts, strict=True)
        losses = torch.stack([block.view(n, seats, members).mean(0) for block, n in blocks], 1)
        with torch.no_grad():
            value, w = self.weigh(weights, losses.flatten(1))
            shares = w.view(seats, -1, members).transpose(0, 1).flatten(1)
            each = zip(shares, counts, strict=True)
            head, slope = terms.back(torch.cat([(share / n).repeat(n) for share, n in each]))
        wrong = wrong.view(len(self.parts), seats, members)
        return Found(
            loss=value,
            fooled=wrong.any(2).any(0) if self.any_counts else wrong.all(2).all(0),
            head=head,
            slope=slope,
            weights=Weighing(w=w, seen=weights.seen + 1, draws=weights.draws),
        )

    def _ask(
        self, victim: Victim, x: Tensor, y: Tensor, draws: Draws, seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Every domain's logits on ``x`` (N, ...), one below the other, and who is wrong (D, N)."""
        asked: dict[int, list[int]] = {}
        for number, part in enumerate(self.parts):
            asked.setdefault(id(part.model), []).append(number)
        logits, wrong = {}, {}
        for key, numbers in asked.items():
            owner = self._victims.get(key, victim)
            shown = [self.parts[n].inputs(_own(x), draws.split(n), seen) for n in numbers]
            # In one forward, but for models that decide otherwise than by the argmax.
            stacks = [torch.cat(shown)] if owner.plain and len(shown) > 1 else shown
            answers = [owner.logits(stack, self.soften) for stack in stacks]
            if torch.is_grad_enabled():
                owner.backwards += owner.draws * sum(map(len, answers))
            if len(answers) < len(shown):
                answers = list(answers[0].split(list(map(len, shown))))
            for n, answer in zip(numbers, answers, strict=True):
                logits[n] = answer
                many = self.parts[n].draws
                wrong[n] = decided(owner, answer.detach(), y, many, self.sure)
        order = range(len(self.parts))
        return _below([logits[n] for n in order]), torch.stack([wrong[n] for n in order])


def _own(x: Tensor) -> Tensor:
    """The inputs for one domain, whose NaN gradients are not to spoil those of the others."""
    if x.requires_grad:
        x = x.view_as(x)
        x.register_hook(torch.nan_to_num)
    return x


def _of_members(draws: Draws, members: int) -> Draws:
    """A stream of its own for every member of every seat."""
    each = [draws.split(number).key for number in range(members)]
    return Draws(key=torch.stack(each, 1).flatten())


def _below(logits: list[Tensor]) -> Tensor:
    classes = sorted({rows.shape[1] for rows in logits})
    if len(classes) > 1:
        raise InputError(
            f"the models have {' and '.join(map(str, classes))} classes: "
            "one perturbation against several models needs the same classes in all of them"
        )
    return torch.cat(logits) if len(logits) > 1 else logits[0]
