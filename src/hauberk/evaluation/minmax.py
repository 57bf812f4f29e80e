"""Attack several domains at once by one perturbation, and say what the domain weights tell."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hauberk.attacks.apgd import APGD
from hauberk.attacks.base import Attack
from hauberk.attacks.msd import MSD
from hauberk.attacks.pgd import PGD
from hauberk.engine.domains import Combined, Domain, product
from hauberk.engine.expectation import seeded
from hauberk.engine.minmax import Average, Fixed, MinMax
from hauberk.engine.victim import Victim
from hauberk.errors import InputError
from hauberk.evaluation.evaluate import _ids, facts_of
from hauberk.evaluation.groups import groups
from hauberk.evaluation.judge import decide, measure
from hauberk.evaluation.ledger import Ledger
from hauberk.evaluation.minmax_result import MinMaxResult
from hauberk.evaluation.screen import screen
from hauberk.evaluation.store import Memory
from hauberk.maths.rng import Draws
from hauberk.threats.base import Box, Threat
from hauberk.threats.each import Each
from hauberk.threats.notation import threat as read_threat
from hauberk.threats.shared import Shared
from hauberk.threats.union import Whole
from hauberk.transforms.base import Transform, is_random

BLOCK = 200
"""Perturbations that are written down together."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What objectives can be called: their names are those of files."""

Models = nn.Module | Victim | Sequence[nn.Module | Victim] | Mapping[str, nn.Module | Victim]


def minmax(
    models: Models,
    images: Tensor,
    labels: Tensor,
    threat: Threat | str,
    *,
    transforms: Sequence[Callable[..., Tensor]] = (),
    domains: Sequence[Domain] = (),
    group: int | None = None,
    by_class: bool = False,
    gamma: float = 3.0,
    beta: float = 1 / 50,
    attack: Attack | None = None,
    objectives: Mapping[str, Combined] | None = None,
    draws: int = 1,
    judge_draws: int = 10,
    stop: bool = True,
    box: Box | Sequence[Any] = (0.0, 1.0),
    seed: int = 0,
    ids: Tensor | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Callable[["Step"], None] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> MinMaxResult:
    """One perturbation against all of several domains: min-max beside the average of the losses.

    The domains are every model behind every transformation, times the images of a group. What
    fools is for the judge to say, who runs the models again and measures the perturbation.

    Args:
        models: one or several, which all take the same inputs and know the same classes; a
            dictionary names them.
        images: ``(N, ...)``, floats in the box; labels: ``(N,)`` integer classes.
        threat: a ball or a warp, or its notation. Of a union, every part gets a perturbation of its
            own (:class:`~hauberk.threats.each.Each`) and the weights go to the strongest, unless
            the attack is MSD, which walks one perturbation through the whole union.
        transforms: what every perturbed image must survive, e.g. those of
            :func:`hauberk.transforms.wang2021`; none by default.
        domains: further domains, of kinds of one's own (:class:`~hauberk.engine.domains.Domain`);
            one without a model stands for all models.
        group: so many images share one perturbation (universal perturbations), in order, or
            ``by_class``. What does not fill a group is left out.
        gamma, beta: of :class:`~hauberk.engine.minmax.MinMax`.
        attack: any gradient attack, whose loss the domains combine; 50 steps of APGD on the margin
            up to 50 by default.
        objectives: what to compare, by name, instead of ``average`` and ``minmax``.
        draws: passes over which the loss of a random transformation is averaged.
        judge_draws: fresh draws of random transformations that the judge decides by.
        stop: leave an example as soon as all its domains are fooled; otherwise every example costs
            the same.
        box, seed, ids, batch_size, out, resume, manifest: as :func:`hauberk.evaluate` has them.
        progress: called after each block with a :class:`Step`.

    Raises:
        InputError: for bad input, before anything is written.

    Source: Wang et al. 2021.
    """
    if resume and out is None:
        raise InputError("resume continues the run that out= holds: give out=, or leave it out")
    for name, value in (("draws", draws), ("judge_draws", judge_draws)):
        if value < 1:
            raise InputError(f"{name} is {value}: give 1 or more")
    if by_class and group is None:
        raise InputError("by_class makes groups of one class: give group=, the images in each")
    bounds = Box.of(box)
    threat = read_threat(threat) if isinstance(threat, str) else threat
    method = default_attack(len(threat.parts) > 1) if attack is None else attack
    if isinstance(method.loss, Combined):
        raise InputError("the attack's loss combines domains already: give it a plain loss")
    named, x, y, warned = _models(models, images, labels, bounds, seed, batch_size)
    names = _ids(ids, len(x))
    every = _domains(named, transforms, x[:2], draws) if transforms or not domains else []
    every += _further(domains, named)
    _distinct(every)
    bound = _bound(threat, method, group, named)
    toward: Literal["strong", "hard"] = "strong" if isinstance(bound, Each) else "hard"
    if objectives is None:
        objectives = {
            "average": Average(every, loss=method.loss),
            "minmax": MinMax(every, gamma, beta, toward=toward, loss=method.loss),
        }
    else:
        objectives = _chosen(objectives, method, every, bound, group)
    if group is None and by_class:
        raise InputError("by_class makes groups: give group=, the number of images in each")
    if group is not None and method.targets:
        raise InputError(f"{bound} is a threat to groups: an attack on it takes no targets")
    if group is not None:
        index = groups(y, group, by_class)
        x, y, names = x[index], y[index], names[index]
    else:
        index = torch.arange(len(x))
    facts = {
        "kind": "minmax",
        "threat": str(bound),
        "parts": [str(domain) for domain in every],
        "models": list(named),
        "group": group,
        "by_class": by_class,
        "attack": method.describe(),
        "objectives": {name: _told(o) for name, o in objectives.items()},
        "draws_of_transforms": draws,
        "judge_draws": judge_draws,
        "stop": stop,
        "block": BLOCK,
        "members": [] if not isinstance(bound, Each) else [str(part) for part in bound.parts],
        **facts_of(next(iter(named.values())), x, y, bounds, seed, batch_size, warned),
        **(manifest or {}),
    }
    store = Memory(facts) if out is None else Ledger.create(out, facts, resume=resume)
    run = _Run(method, bound, every, x, y, names, bounds, seed, judge_draws, stop, store)
    run.clean()
    total = len(objectives) * -(-len(x) // BLOCK)
    for number, (name, objective, start) in enumerate(
        (name, o, start) for start in range(0, len(x), BLOCK) for name, o in objectives.items()
    ):
        run.block(name, objective, start)
        if progress is not None:
            progress(Step((number + 1) / total, f"{name} {start}", *run.spent))
    result = MinMaxResult.read(store, list(objectives), index)
    store.write_summary(result.summary)
    return result


def default_attack(several: bool, loss: str = "cw", steps: int = 50) -> Attack:
    """APGD; for ``several`` threats at once PGD, since APGD's sparse steps are for l1 alone."""
    if several:
        return PGD(loss=loss, steps=steps, share=0.1)
    return APGD(loss=loss, steps=steps)


@dataclass(frozen=True)
class Step:
    """How far a run is: share done, what was done last, passes of this process so far."""

    done: float
    doing: str
    forwards: int
    backwards: int


@dataclass
class _Run:
    attack: Attack
    threat: Threat
    domains: list[Domain]
    x: Tensor
    y: Tensor
    ids: Tensor
    box: Box
    seed: int
    judge_draws: int
    stop: bool
    store: Memory | Ledger
    spent: tuple[int, int] = field(default=(0, 0))

    def block(self, name: str, objective: Combined, start: int) -> None:
        """Attack one block of seats, have it judged, write it down; nothing if it is there."""
        key = f"{name}-{start // BLOCK:05d}"
        if self.store.has(key):
            return
        rows = slice(start, start + BLOCK)
        x, y, ids = self.x[rows], self.y[rows], self.ids[rows]
        first = ids if ids.dim() == 1 else ids[:, 0]
        begun = time.monotonic()
        attack = replace(self.attack, loss=objective)
        victim = self.domains[0].model
        assert isinstance(victim, Victim)
        with seeded(self.seed, victim.device):  # for transforms that draw from torch's generators
            found = attack.run(
                victim, self.threat, x, y, box=self.box, seed=self.seed, ids=first, stop=self.stop
            )
        seconds = time.monotonic() - begun
        allowed, distance = measure(
            self.threat, x.to(victim.device), found.points, self.box, found.witness
        )
        wrong = self.wrong(found.points, y, first) & allowed.cpu().view(1, -1, 1)
        self.spent = (
            self.spent[0] + int(found.forwards.sum()), self.spent[1] + int(found.backwards.sum())
        )  # fmt: skip
        self.store.write(
            key,
            {
                "id": first.numpy(),
                "allowed": allowed.cpu().numpy(),
                "distance": distance.cpu().numpy(),
                "loss": found.loss.double().cpu().numpy(),
                "forwards": found.forwards.cpu().numpy(),
                "backwards": found.backwards.cpu().numpy(),
                "seconds": torch.full((len(first),), seconds / max(1, len(first))).numpy(),
            },
            {
                "points": found.points.cpu(),
                "wrong": wrong.transpose(0, 1).to(torch.uint8).contiguous(),
                **({} if found.witness is None else {"witness": found.witness.cpu()}),
                **({} if found.weights is None else {"weights": found.weights.cpu()}),
                **({} if found.path is None else {"path": found.path.cpu().contiguous()}),
            },
        )

    def clean(self) -> None:
        """The decisions on the clean inputs, and what they are."""
        if self.store.has("clean"):
            return
        first = self.ids if self.ids.dim() == 1 else self.ids[:, 0]
        members = len(self.threat.parts) if isinstance(self.threat, Each) else None
        shown = self.x if members is None else self.x.unsqueeze(1).repeat_interleave(members, 1)
        wrong = self.wrong(shown, self.y, first)
        self.store.write(
            "clean",
            {"id": first.numpy()},
            {
                "wrong": wrong.transpose(0, 1).to(torch.uint8).contiguous(),
                "labels": self.y.cpu(),
                "inputs": self.x.cpu(),
                "ids": self.ids,
            },
        )

    def wrong(self, points: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        """What the judge finds wrong: draws, seats, domains, ``(R, B, D * M)`` bool."""
        lead = points.dim() - self.x.dim()  # Each: several points for one input
        if y.dim() == 1 and lead:
            y = y.unsqueeze(1).expand(-1, points.shape[1])
        members = y.shape[1] if y.dim() == 2 else 1
        flat = points.flatten(0, 1) if y.dim() == 2 else points
        labels = y.reshape(-1)
        random = any(d.transform is not None and is_random(d.transform) for d in self.domains)
        draws = self.judge_draws if random else 1
        keys = Draws.of(self.seed, ids.repeat_interleave(members), 0x6A756467)
        keys = Draws(key=keys.key + torch.arange(members).repeat(len(ids)))
        found = []
        for number in range(draws):
            each = []
            for place, domain in enumerate(self.domains):
                victim = domain.model
                assert isinstance(victim, Victim)
                parts = []
                size = max(1, victim.batch_size(flat[:1]))
                with seeded(self.seed + number, victim.device), torch.no_grad():
                    for rows in torch.arange(len(flat)).split(size):
                        own = Draws(key=keys.split(place).key[rows].to(victim.device))
                        turn = torch.full_like(own.key, number)
                        x = flat[rows.to(flat.device)].to(victim.device)
                        shown = domain.but(draws=1).inputs(x, own, turn)
                        wants = labels[rows.to(labels.device)].to(victim.device)
                        parts.append(decide(victim, shown, wants)[1].cpu())
                each.append(torch.cat(parts) if parts else torch.zeros(0, dtype=torch.bool))
            found.append(torch.stack(each).view(len(self.domains), -1, members))
        return torch.stack(found).permute(0, 2, 1, 3).flatten(2)


def _models(
    models: Models, images: Tensor, labels: Tensor, box: Box, seed: int, batch_size: int | None
) -> tuple[dict[str, Victim], Tensor, Tensor, list[str]]:
    """The victims by name, checked one by one and against each other."""
    if isinstance(models, Mapping):
        named = dict(models)
    else:
        several = [models] if isinstance(models, nn.Module | Victim) else list(models)
        kinds = [type(getattr(m, "model", m)).__name__ for m in several]
        named = {
            f"{kind} {number}" if kinds.count(kind) > 1 else kind: model
            for number, (kind, model) in enumerate(zip(kinds, several, strict=True), start=1)
        }
    if not named:
        raise InputError("no model: give at least one")
    victims: dict[str, Victim] = {}
    warned: list[str] = []
    classes: dict[str, int] = {}
    boxes: dict[str, Box] = {}
    x, y = images, labels
    for name, model in named.items():
        own = getattr(model, "box", None)
        boxes[name] = box if own is None else Box.of(own)
        if str(boxes[name]) != str(box):
            raise InputError(
                f"model {name} takes inputs in {boxes[name]}, not {box}: one perturbation of one "
                "input needs one box for all models; put the scaling into the model"
            )
        x, y, told, victim = screen(Victim.of(model, batch_size), images, labels, box, seed)
        warned += [f"{name}: {text}" for text in told] if len(named) > 1 else told
        victims[name] = victim
        with victim.held():
            classes[name] = victim.predict(x[:1]).shape[1]
    if len(set(classes.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in classes.items())
        raise InputError(f"the models differ in their number of classes ({each}): choose others")
    devices = {str(victim.device) for victim in victims.values()}
    if len(devices) > 1:
        raise InputError(f"the models are on {' and '.join(sorted(devices))}: move them together")
    return victims, x, y, warned


def _domains(
    named: Mapping[str, Victim], transforms: Sequence[Callable[..., Tensor]], few: Tensor,
    draws: int,
) -> list[Domain]:  # fmt: skip
    """Every model behind every transformation, named."""
    if not transforms:
        return [Domain(model=victim, name=name) for name, victim in named.items()]
    from hauberk.transforms import check

    for transform in transforms:
        check(transform, few)
    shown: list[str] = []
    for transform in transforms:
        text = str(Domain(transform=transform))
        if text in shown and not isinstance(transform, Transform):  # a second lambda, say
            text = f"{text} {len(shown) + 1}"
        shown.append(text)
    shown *= len(named)
    owners = [name for name in named for _ in transforms]
    return [
        domain.but(name=f"{owner} {text}" if len(named) > 1 else text)
        for domain, owner, text in zip(
            product(list(named.values()), transforms, draws), owners, shown, strict=True
        )
    ]


def _further(domains: Sequence[Domain], named: Mapping[str, Victim]) -> list[Domain]:
    """The user's own domains, on all models where they name none."""
    made: list[Domain] = []
    for domain in domains:
        if not isinstance(domain, Domain):
            raise InputError(f"{domain!r} is no Domain: pass models and transforms as such")
        text = domain.name or type(domain).__name__
        if domain.model is not None:
            made.append(domain.but(model=Victim.of(domain.model), name=domain.name or str(domain)))
            continue
        made += [
            domain.but(model=victim, name=f"{owner} {text}" if len(named) > 1 else text)
            for owner, victim in named.items()
        ]
    return made


def _distinct(domains: Sequence[Domain]) -> None:
    names = [str(domain) for domain in domains]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"domain {name} is named twice: give each a name of its own")


def _bound(threat: Threat, attack: Attack, group: int | None, named: Mapping[str, Any]) -> Threat:
    """The threat as the attack meets it."""
    if isinstance(threat, Shared) and group is None:
        raise InputError(f"{threat} needs groups: give group=, the number of images in each")
    if group is not None:
        return threat if isinstance(threat, Shared) else Shared(threat)
    if len(threat.parts) == 1 or isinstance(threat, Each):
        return threat
    return Whole(threat) if isinstance(attack, MSD) else Each(*threat.parts)


def _chosen(
    objectives: Mapping[str, Combined], attack: Attack, domains: list[Domain], threat: Threat,
    group: int | None,
) -> dict[str, Combined]:  # fmt: skip
    """The caller's objectives on the run's domains, refused while nothing is written yet."""
    members = group or (len(threat.parts) if isinstance(threat, Each) else 1)
    if not objectives:
        raise InputError("no objective: give at least one by name, or leave objectives out")
    for name, objective in objectives.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(f"objective {name!r}: make its name of letters, digits, '-' and '_'")
        if not isinstance(objective, Combined):
            raise InputError(f"objective {name} is {objective!r}: give MinMax(), Average(), ...")
        weights = objective.weights if isinstance(objective, Fixed) else None
        if weights is not None and len(weights) != len(domains) * members:
            raise InputError(
                f"objective {name} has {len(weights)} weights: give {len(domains) * members}, "
                "one for each domain"
            )
        replace(attack, loss=objective)  # refuses a loss that knows no targets
    return {name: replace(o, domains=domains) for name, o in objectives.items()}


def _told(objective: Combined) -> dict[str, Any]:
    told = {"objective": type(objective).__name__, "loss": objective.loss}
    for name in ("gamma", "beta", "toward", "weights"):
        if hasattr(objective, name):
            told[name] = getattr(objective, name)
    return told
