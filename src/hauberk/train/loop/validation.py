"""A model in training on held-out examples: accuracies, clean and attacked, and margins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hauberk.attacks.apgd import APGD
from hauberk.attacks.lpa import LPA
from hauberk.attacks.pgd import PGD
from hauberk.engine.method import Job, Method
from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.solvers.anpgd import ANPGD
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat, Trait
from hauberk.threats.metric import Metric
from hauberk.train.loop.examples import LabelledExamples
from hauberk.train.loop.processes import Processes
from hauberk.train.settings import Settings
from hauberk.victims.victim import Victim

SOFTEN = 0.3
"""Width of the softened gradients, that of the suites."""

FARTHEST = 1.05
"""How far margins are looked for, in units of a threat's radius (Ding et al. 2020, Algorithm 1)."""


@dataclass
class ValidationSet:
    """Held-out examples and the model in training; attacks start at the same points each time.

    Args:
        victim: The model.
        x: Inputs ``(B, ...)``.
        y: Labels ``(B,)``.
        ids: Numbers of the examples ``(B,)``.
        threats: Those of the strategy.
        steps: Of the attacks.
        box: Valid range of the inputs.
    """

    victim: Victim
    x: Tensor
    y: Tensor
    ids: Tensor
    threats: Sequence[Threat]
    steps: int
    box: Box

    @cached_property
    def right(self) -> Tensor:
        """Which examples the model gets right, (B,) bool."""
        if not len(self.x):
            return self.y > 0
        with self.victim.held():
            predicted = self.victim.predict(self.x)
            return ~self.victim.wrong(predicted, self.y.to(self.victim.device))

    def correct(self) -> dict[str, Tensor]:
        """Which stay correctly classified: ``clean``, each threat and ``union``, (B,) bool.

        Without threats ``clean`` alone. By PGD, in balls by Auto-PGD along softened gradients, as a
        training may hide the exact ones, and by LPA where only a distance is known: an upper bound
        on the robust accuracy, good for choosing among checkpoints only.
        """
        found, union = {"clean": self.right}, self.right.clone()
        for name, threat in _parts(self.threats).items():
            found[name] = self.right.clone()
            attacks: list[Method] = [PGD(steps=self.steps)]
            if isinstance(threat, Ball):
                attacks.append(APGD(loss="ce", steps=self.steps, soften=SOFTEN))
            if Trait.EVALUATED in threat.traits:
                attacks.append(lagrangian(self.steps))
            for attack in attacks:
                rows = found[name].nonzero().flatten()
                if len(rows):
                    found[name][rows] = ~self.attack(attack, threat, rows).fooled
            union &= found[name]
        return {**found, "union": union} if len(found) > 1 else found

    def margins(self) -> Tensor:
        """Least margin over the threats, each in units of its radius, (B,) float64.

        0 where the model is wrong; ``FARTHEST`` where AN-PGD found nothing so near. With one threat
        it is the measure by which Ding et al. 2020, appendix C, choose checkpoints: margins by
        AN-PGD as printed, whose bisection ends where the soft margin is 0. Upper bounds of the
        SLM-margins, within 2% on linear models in a wide box and 4% in l1 where the box binds.
        """
        found = torch.where(self.right, FARTHEST, 0.0).double()
        for threat in _parts(self.threats).values() if len(self.alive) else ():
            assert isinstance(threat, Ball)
            solver = ANPGD(
                steps=self.steps, eps=threat.eps, eps_max=FARTHEST * threat.eps,
                boundary="soft_margin", nearer=False,
            )  # fmt: skip
            nearest = self.attack(solver, Metric.of(threat), self.alive)
            share = (nearest.distance.double() / threat.eps).to(found)
            near = torch.where(nearest.fooled.to(found.device), share, FARTHEST)
            found[self.alive] = found[self.alive].minimum(near)
        return found

    @cached_property
    def alive(self) -> Tensor:
        """Rows of the examples that the model gets right."""
        return self.right.nonzero().flatten()

    def attack(self, attack: Method, threat: Threat, rows: Tensor) -> Outcome:
        """An attack on some of the examples."""
        at = rows.to(self.x.device)
        job = Job(threat=threat, x=self.x[at], y=self.y[at], ids=self.ids[at], box=self.box)
        return attack.run(self.victim, job)


class Validation:
    """Validates a model in training, each process on its share of the held-out examples.

    Args:
        held: The examples; there may be none.
        processes: Those that train.
        victim: The model as the training attacks it.
        threats: Those of the strategy.
        settings: ``validate_steps``, ``select`` and ``box``.
    """

    def __init__(
        self, held: LabelledExamples, processes: Processes, victim: Victim,
        threats: Sequence[Threat], settings: Settings,
    ) -> None:  # fmt: skip
        self.held, self.processes, self.victim = held, processes, victim
        self.threats, self.settings = threats, settings

    def run(self) -> dict[str, float]:
        """``valid_clean``, each ``valid_<threat>``, ``valid_union``; ``valid_margin`` if wanted."""
        held, processes, settings = self.held, self.processes, self.settings
        if not len(held):
            return {}
        mine = processes.share(torch.arange(len(held)))
        victim = processes.victim(self.victim.model, "eval")
        victim.stiff = self.victim.stiff
        # Examples keep their numbers in the whole set: attacks start alike in every process.
        device = processes.device
        part = ValidationSet(
            victim, held.x[mine].to(device), held.y[mine].to(device), mine.to(device),
            self.threats, settings.validate_steps, settings.bounds,
        )  # fmt: skip
        counts = processes.gather(count(part.correct()))
        names = dict.fromkeys(name for some in counts for name in some)
        found = {f"valid_{n}": sum(some[n] for some in counts) / len(held) for n in names}
        if settings.select == "margin":
            sums = processes.gather(float(part.margins().sum()))
            found["valid_margin"] = sum(sums) / len(held)
        return found


def gaps(summary: Mapping[str, Any], known: Mapping[str, float]) -> dict[str, float]:
    """Accuracies on training examples, and how much they exceed those on held-out ones.

    Args:
        summary: uses ``valid_clean`` and so on; known: the same names, of training examples.

    Returns:
        ``train_clean``, ..., and ``gap_clean``, ...: training less validation accuracy.

    Example:
        >>> gaps({"valid_clean": 0.75}, {"valid_clean": 1.0})
        {'train_clean': 1.0, 'gap_clean': 0.25}
    """
    names = [name.removeprefix("valid_") for name in known]
    train = {f"train_{name}": known[f"valid_{name}"] for name in names}
    return train | {f"gap_{n}": known[f"valid_{n}"] - summary[f"valid_{n}"] for n in names}


def require_margins(threats: Sequence[Threat]) -> None:
    """Refuse threats without margins.

    Raises:
        InputError: saying what to select by instead.
    """
    parts = _parts(threats)
    for name, threat in parts.items():
        if not isinstance(threat, Ball) or threat.p < 1 or not threat.eps > 0:
            raise InputError(
                f"select='margin' measures margins in lp balls with p >= 1, not in {name}: select "
                "by union"
            )
    if not parts:
        raise InputError("select='margin' needs a threat to measure in: select by clean")


def most_passes(threats: Sequence[Threat], steps: int, select: str) -> int:
    """Passes that an example costs at the most."""
    balls = sum(isinstance(threat, Ball) for threat in threats)
    measured = sum(Trait.EVALUATED in threat.traits for threat in threats)
    each = PGD(steps=steps).passes * len(threats) + APGD(loss="ce", steps=steps).passes * balls
    each += lagrangian(steps).passes * measured
    return 1 + each + (ANPGD(steps=steps).passes * balls if select == "margin" else 0)


def lagrangian(steps: int) -> LPA:
    """The attack on threats that are known by their distance alone."""
    return LPA(steps=steps, outer=min(5, steps))


def count(flags: dict[str, Tensor]) -> dict[str, int]:
    """How many are true under each name; waits once for the device."""
    if not flags:
        return {}
    sums = torch.stack([f.sum() for f in flags.values()]).tolist()
    return dict(zip(flags, map(int, sums), strict=True))


def _parts(threats: Sequence[Threat]) -> dict[str, Threat]:
    return {str(part): part for threat in threats for part in threat.parts}
