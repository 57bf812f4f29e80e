"""What all objectives over several domains share: one forward a domain, losses side by side."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.maths.rows import Rows
from hauberk.objectives.base import Evaluation, Objective
from hauberk.objectives.domains import Domain
from hauberk.objectives.expectation import decided
from hauberk.objectives.problem import Problem
from hauberk.transforms.base import Transform
from hauberk.victims.averaged import SURE
from hauberk.victims.victim import Victim


@dataclass
class Weighing(Rows):
    """Where the weighing of domains stands.

    Attributes:
        w: domain weights ``(S, K)`` on the simplex, those that the next gradient takes.
        seen: evaluations so far, ``(S,)`` int64.
        draws: the slots' random numbers.
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
        loss: of each domain, as of :class:`~hauberk.objectives.base.Objective`; ``cw``, the
            margin up to 50, as published by Wang et al. 2021.
        toward: ``hard``: one perturbation is to fool all domains, and weights that move go to the
            hardest to fool. ``strong``: there is a perturbation for each of several threats
            (:class:`~hauberk.threats.each.Each`), one that fools all domains is enough, and
            weights go to the threat of largest loss, as in adversarial training (Wang et al. 2021,
            section 4.4).
        sure: standard errors by which the draws of a random domain must be wrong to count.

    Raises:
        InputError: for an empty list of domains.
    """

    domains: Sequence[Any] | None = None
    loss: str | Callable[..., Tensor] = field(default="cw", kw_only=True)
    targeted: bool = field(default=False, kw_only=True)
    soften: float = field(default=0.0, kw_only=True)
    toward: Literal["hard", "strong"] = field(default="hard", kw_only=True)
    sure: float = field(default=SURE, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if callable(self.domains) or isinstance(self.domains, Domain):
            raise InputError(f"domains is {self.domains!r}: give a list, with that one in it")
        if self.domains is not None:
            object.__setattr__(self, "domains", tuple(self.domains))  # of a generator, say
        if self.domains is not None and not self.domains:
            raise InputError("no domain: give at least one model or transformation")
        if self.toward not in ("hard", "strong"):
            raise InputError(f"unknown toward '{self.toward}': choose hard or strong")
        _ = self.parts

    @abstractmethod
    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        """From the domains' losses ``(S, K)``: the objective's value ``(S,)`` and new weights."""

    def pull(self, state: Weighing, w: Tensor) -> Tensor:
        """The weights that the gradient takes: ``w`` (S, K), as weighed from ``state``."""
        return w

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

    def traced(self, state: Rows | None, inside: Tensor | None = None) -> Tensor | None:
        assert isinstance(state, Weighing)
        return state.w

    def __call__(
        self, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None, weights: Rows | None
    ) -> Evaluation:
        assert isinstance(weights, Weighing)
        slots, members = len(x), y.shape[1] if y.dim() == 2 else 1
        draws, seen = weights.draws, weights.seen
        if y.dim() == 2:
            x, y = x.flatten(0, 1), y.flatten()
            draws, seen = _of_members(draws, members), seen.repeat_interleave(members)
            target = None if target is None else target.repeat_interleave(members)
        logits, wrong = self._ask(victim, x, y, draws, seen)
        if torch.is_grad_enabled():
            victim.backwards -= victim.draws * slots  # which it will count for one domain
        times = [v.repeat(self.samples) for v in ((y,) if target is None else (y, target))]
        terms = self.terms(logits, *times)
        # Rows come as (domain, draw, slot, member); weights as (slot, domain, member).
        counts = [part.draws for part in self.parts]
        blocks = zip(terms.loss.split([len(x) * n for n in counts]), counts, strict=True)
        losses = torch.stack([block.view(n, slots, members).mean(0) for block, n in blocks], 1)
        with torch.no_grad():
            value, w = self.weigh(weights, losses.flatten(1))
            shares = self.pull(weights, w).reshape(slots, -1, members).transpose(0, 1).flatten(1)
            each = zip(shares, counts, strict=True)
            head, slope = terms.back(torch.cat([(share / n).repeat(n) for share, n in each]))
        wrong = wrong.view(len(self.parts), slots, members)
        return Evaluation(
            loss=value,
            fooled=self._fooled(wrong),
            head=head,
            slope=slope,
            weights=Weighing(w=w, seen=weights.seen + 1, draws=weights.draws),
        )

    def _fooled(self, wrong: Tensor) -> Tensor:
        """Which slots count as fooled, ``(S,)``, of parts that are wrong (D, S, M)."""
        if self.toward == "hard":
            return wrong.all(2).all(0)
        # One threat is enough, but there all models; of a single threat, one model.
        return wrong.all(0).any(1) if wrong.shape[2] > 1 else wrong.any(0).any(1)

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
            shown = [self.parts[n].inputs(self._own(x, n), draws.split(n), seen) for n in numbers]
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

    def _own(self, x: Tensor, number: int) -> Tensor:
        """The inputs for one domain: nothing that it does to them is to reach the others."""
        part = self.parts[number]
        if type(part) is not Domain or not isinstance(part.transform, Transform | None):
            x = x.clone()  # foreign code may write into it
        if x.requires_grad:
            x = x.view_as(x)
            x.register_hook(torch.nan_to_num)  # NaN gradients, too, stay its own
        return x


def _of_members(draws: Draws, members: int) -> Draws:
    """A stream of its own for every member of every slot."""
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
