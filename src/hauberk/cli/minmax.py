"""What ``hauberk minmax`` does, from parsed options."""

import csv
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hauberk.cli.evaluate import NO_MODEL, _data, _model, hashed, minutes, timed
from hauberk.errors import InputError
from hauberk.spec.numbers import number

if TYPE_CHECKING:
    from torch import nn

    from hauberk.attacks import Attack
    from hauberk.evaluation.minmax.result import MinMaxResult
    from hauberk.threats import Threat
    from hauberk.transforms import Transform


def minmax(options: Any) -> int:
    """``hauberk minmax``."""
    from hauberk.evaluation.minmax.minmax import minmax as run
    from hauberk.report.progress import shown
    from hauberk.report.tables.minmax import print_table

    # What costs nothing to find out comes before the models are loaded.
    pairs, names = _pairs(options), _names(options)
    attack = _attack(options)
    threat = _threat(options, attack)
    gamma, beta = _weighing(options)
    _other_numbers(options)
    transforms = _transforms(_several(options.transform))
    if not options.data:
        raise InputError("no data: give --data, e.g. digits:test, mnist:test or npz:FILE")
    data = _data(options)
    loaded = [
        _model(SimpleNamespace(model=model, weights=weights, device=options.device))
        for model, weights in pairs
    ]
    if options.dry_run:
        return _dry_run(loaded, names, data, threat, transforms, attack, options)
    with shown() as progress:
        found = run(
            dict(zip(names, loaded, strict=True)) if names else loaded,
            data.images, data.labels, threat, transforms=transforms, group=options.group,
            by_class=options.by_class, gamma=gamma, beta=beta, attack=attack,
            draws=options.draws, judge_draws=options.judge_draws,
            stop=False if options.all_steps else None, box=options.box, seed=options.seed,
            ids=data.ids, batch_size=options.batch_size,
            out=options.out, resume=options.resume, progress=progress,
            manifest=_recorded(pairs, options),
        )  # fmt: skip
    print_table(found.summary)
    if options.out:
        for path in _write(Path(options.out), found):
            print(path)
        print(f"ledger: {options.out}")
    return 0


def _pairs(options: Any) -> list[tuple[str, str | None]]:
    """Every model with its weights."""
    from hauberk.models.saved import resolve_model

    models, weights = _several(options.model), _several(options.weights)
    if not models:
        raise InputError(NO_MODEL)
    if weights and len(weights) != len(models):
        raise InputError(
            f"{len(models)} models but {len(weights)} weights: give --weights once for every "
            "--model, in the same order ('none' for a model that needs none), or not at all"
        )
    files = [
        None if text.strip().lower() in ("", "none") else str(Path(text).expanduser())
        for text in weights
    ]
    for file in files:
        if file is not None and not Path(file).is_file():
            raise InputError(f"weights {file}: there is no such file: give another --weights")
    pairs = zip(models, files or [None] * len(models), strict=True)
    return [resolve_model(model, file) for model, file in pairs]


def _names(options: Any) -> list[str]:
    names, many = _several(options.name), len(_several(options.model))
    if names and len(names) != many:
        raise InputError(
            f"{many} models but {len(names)} names: give --name once for every --model, in the "
            "same order, or not at all"
        )
    if len(set(names)) < len(names):
        raise InputError(f"names {', '.join(names)}: give every model a --name of its own")
    return names


def _weighing(options: Any) -> tuple[float, float]:
    """Gamma and beta."""
    from hauberk.objectives.minmax import MinMax

    gamma, beta = _number("gamma", options.gamma), _number("beta", options.beta)
    MinMax(gamma=gamma, beta=beta)
    return gamma, beta


def _other_numbers(options: Any) -> None:
    from hauberk.threats import Box

    if options.resume and not options.out:
        raise InputError("--resume continues a run on disk: give its folder with --out")
    for name in ("draws", "judge_draws", "group"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}: give 1 or more")
    if options.by_class and options.group is None:
        raise InputError("--by-class makes groups of one class: say how large with --group")
    Box.of(options.box)


def _number(name: str, given: Any) -> float:
    """A number, a fraction or inf."""
    found = number(str(given))
    if found is None:
        raise InputError(f"{name} is '{given}': give a number or a fraction, e.g. 0.02 or 1/50")
    return found


def _attack(options: Any) -> "Attack":
    from hauberk.attacks import APGD, MSD, PGD, MomentumIterative
    from hauberk.evaluation.minmax.minmax import default_attack

    kinds: dict[str, type[Attack]] = {
        "pgd": PGD, "apgd": APGD, "momentum": MomentumIterative, "msd": MSD,
    }  # fmt: skip
    if options.attack is None and options.step_size is options.rule is options.random_start:
        # Without a word more: hb.minmax's own choice.
        return default_attack(len(_several(options.threat)) > 1, options.loss, options.steps)
    kind = kinds.get(options.attack or "pgd")
    if kind is None:
        raise InputError(f"unknown attack '{options.attack}': choose one of {', '.join(kinds)}")
    given = {
        name: getattr(options, name)
        for name in ("step_size", "rule", "random_start")
        if getattr(options, name) is not None
    }
    if "step_size" in given:
        given["step_size"] = _number("step_size", given["step_size"])
    for name in given.keys() - {field.name for field in fields(kind)}:
        raise InputError(
            f"the attack {options.attack} has no --{name.replace('_', '-')}: leave it out, or "
            "choose --attack pgd"
        )
    return kind(loss=options.loss, steps=options.steps, **given)


def _threat(options: Any, attack: "Attack") -> "Threat":
    from hauberk.attacks import MSD
    from hauberk.threats import Union, threat
    from hauberk.threats.ball import Ball
    from hauberk.threats.each import Each
    from hauberk.threats.shared import Shared

    texts = _several(options.threat)
    if not texts:
        raise InputError("no threat: give at least one, e.g. --threat linf:0.2")
    whole = Union(*(threat(text) for text in texts))
    parts = whole.parts
    if options.group is not None:
        if len(parts) > 1 or isinstance(attack, MSD):
            raise InputError(
                "a group shares one perturbation in one lp ball: give one --threat and another "
                "attack than msd, or leave --group out"
            )
        Shared(parts[0])
    elif isinstance(attack, MSD):
        for part in parts:
            if not isinstance(part, Ball):
                raise InputError(f"--attack msd walks through lp balls, and {part} is none")
        return whole.whole() if len(parts) > 1 else parts[0]
    elif len(parts) > 1:
        Each(*parts)
    return whole if len(parts) > 1 else parts[0]


def _transforms(texts: list[str]) -> "list[Transform]":
    from hauberk.transforms import transform, wang2021

    made: list[Transform] = []
    for text in texts:
        word, _, kind = text.strip().lower().partition(":")
        if word == "wang2021":
            made += wang2021(kind)  # type: ignore[arg-type]  # refuses other kinds itself
        else:
            made.append(transform(text))
    names = [str(one) for one in made]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"transform {name} is named twice: name each once")
    return made


def _several(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else [str(item) for item in given or ()]


def _recorded(pairs: list[tuple[str, str | None]], options: Any) -> dict[str, Any]:
    """What a manifest says of the words that the command was given."""
    return {
        "model": [model for model, _ in pairs],
        "weights": [weights for _, weights in pairs],
        "weights_sha256": [hashed(weights) for _, weights in pairs],
        "data": options.data,
        "limit": options.limit,
        "offset": options.offset,
        "command": sys.argv,
    }


def _dry_run(
    models: "list[nn.Module]", names: list[str], data: Any, threat: "Threat",
    transforms: "list[Transform]", attack: "Attack", options: Any,
) -> int:  # fmt: skip
    """The most that the run can cost, from one timed pass of each model; nothing is written."""
    from hauberk.attacks import MSD
    from hauberk.evaluation.core.preflight import screen
    from hauberk.evaluation.minmax.groups import groups
    from hauberk.objectives.domains import product
    from hauberk.threats import Box
    from hauberk.transforms import check
    from hauberk.victims.victim import Victim

    balls = len(threat.parts)
    if isinstance(attack, MSD):
        attack, balls = replace(attack, parts=balls), 1
    named = names or [type(model).__name__ for model in models]
    classes, passes, seconds = [], 0, 0.0
    n = len(data.images)
    for model in models:
        victim = Victim.of(model, options.batch_size)
        x, y, _, victim = screen(
            victim, data.images, data.labels, Box.of(options.box), options.seed
        )
        for transform in transforms if model is models[0] else ():
            check(transform, x[:2])
        if options.group is not None:
            n = groups(y, options.group, options.by_class).numel()
        domains = product([victim], transforms, options.draws) if transforms else []
        samples = sum(domain.draws for domain in domains) or 1
        each, known = timed(victim, x)
        own = samples * balls * attack.passes * victim.draws
        passes, seconds = passes + own, seconds + own * each * n
        classes.append(known)
    if len(set(classes)) > 1:
        told = ", ".join(f"{name} {count}" for name, count in zip(named, classes, strict=True))
        raise InputError(f"the models differ in their number of classes ({told}): choose others")
    many = len(models) * max(1, len(transforms)) * balls
    told = f"{many} domains ({', '.join(named)}), {type(attack).__name__} under {threat}"
    print(f"{n} examples, {told}:")
    for side in ("average", "minmax"):
        print(f"{side}: at most {passes} passes per example")
    whole = options.all_steps or any(transform.random for transform in transforms)
    print(f"together about {minutes(2 * seconds)}"
          + ("" if whole else "; examples that are fooled leave early"))  # fmt: skip
    return 0


def _write(folder: Path, found: "MinMaxResult") -> list[Path]:
    """``weights.csv`` and the pictures."""
    from hauberk.report.plots import minmax as plots

    side, summary = found.minmax, found.summary
    names, members = list(side.names), side.members
    # K = domains * members of a group: a domain has the weight of all its members.
    slots = len(side.weights)
    weights = side.weights.view(slots, -1, members).sum(2)
    path = side.path.view(slots, side.path.shape[1], -1, members).sum(3)
    wrong = side.wrong.double().mean(0).view(slots, -1, members).mean(2)
    table = folder / "weights.csv"
    try:
        with table.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            rows.writerow(
                ["id", *(f"weight {name}" for name in names), *(f"wrong {name}" for name in names)]
            )
            columns = side.rows["id"].tolist(), weights.tolist(), wrong.tolist()
            for id_, own, fooled in zip(*columns, strict=True):
                rows.writerow([id_, *map(repr, own), *map(repr, fooled)])
        accuracy = {"clean": summary["clean_accuracy"]}
        accuracy |= {name: each.accuracy for name, each in found.items()}
        strong = summary["threat"].startswith("each")  # then weights go to the largest loss
        title = "hardest domain: the one that breaks most" if strong else ""
        return [
            table,
            plots.weight_paths(path, names, folder / "weights.png"),
            plots.binding(summary["binding_by_class"], folder / "binding.png", title),
            plots.accuracies(accuracy, folder / "accuracy.png"),
        ]
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror or error}); the ledger is kept: see to "
            "the cause, then run again with --resume"
        ) from error
