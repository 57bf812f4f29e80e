"""What the console commands do, from parsed options."""

import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hauberk.data import Dataset
    from hauberk.victims.victim import Victim

NO_MODEL = (
    "no model: give --model package.module:name, --model file.py:name or, of one that hauberk "
    "trained, --model RUN/model.yaml"
)


def evaluate(options: Any) -> int:
    """``hauberk evaluate``."""
    from hauberk import evaluation
    from hauberk.evaluation.accuracy.suites import suite_of
    from hauberk.report.progress import shown
    from hauberk.report.tables.accuracy import print_table
    from hauberk.threats import Union, threat

    if options.list_suites:
        return _list_suites(options)
    if options.resume and not options.out:
        raise InputError("--resume continues a run on disk: give its folder with --out")
    if options.union_only and options.all_attacks:
        raise InputError("--union-only and --all-attacks exclude each other: choose one")
    if not options.threat:
        raise InputError("no threat: give at least one, e.g. --threat linf:8/255 --threat l2:0.5")
    texts = [options.threat] if isinstance(options.threat, str) else options.threat
    union = Union(*(threat(text) for text in texts))
    suite = suite_of(options.suite)
    model, data = load(options)
    if options.dry_run:
        return _dry_run(model, data, union, suite, options)
    facts = recorded(options)
    with shown() as progress:
        result = evaluation.evaluate(
            model, data.images, data.labels, union, suite=suite, box=options.box,
            seed=options.seed, ids=data.ids, out=options.out, resume=options.resume,
            union_only=options.union_only, all_attacks=options.all_attacks,
            batch_size=options.batch_size, progress=progress, manifest=facts,
        )  # fmt: skip
    print_table(result.summary)
    if options.out:
        print(f"ledger: {options.out}")
    return 0


def verify(options: Any) -> int:
    """``hauberk verify``: exit code 0 if everything was confirmed, else 1."""
    from hauberk import evaluation

    model = _model(options)
    data = _data(options) if options.data else None
    found = evaluation.verify(options.run, model, data=data, batch_size=options.batch_size)
    print(found)
    return 0 if found.ok else 1


def demo(options: Any) -> int:
    """``hauberk demo``."""
    from hauberk.demo import run

    run(Path(options.out), seed=options.seed)
    return 0


def load(options: Any) -> "tuple[nn.Module, Dataset]":
    """The model and the data that the options name."""
    model = _model(options)
    if not options.data:
        raise InputError("no data: give --data, e.g. digits:test, mnist:test or npz:FILE")
    return model, _data(options)


def _model(options: Any) -> "nn.Module":
    import torch

    from hauberk.models.loading import load_model
    from hauberk.models.saved import resolve_model

    if not options.model:
        raise InputError(NO_MODEL)
    options.model, options.weights = resolve_model(options.model, options.weights)
    try:
        device = None if options.device is None else torch.device(options.device)
    except RuntimeError:
        raise InputError(
            f"unknown device '{options.device}': give cpu, cuda, cuda:0 or mps"
        ) from None
    model = load_model(options.model, options.weights)
    if device is None:
        return model
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        line = str(error).splitlines()[0]
        raise InputError(f"device '{options.device}' cannot be used: {line}") from error


def _data(options: Any) -> "Dataset":
    from hauberk.data import load_data

    return load_data(options.data, options.data_dir, limit=options.limit, offset=options.offset)


def _dry_run(model: Any, data: Any, union: Any, suite: Any, options: Any) -> int:
    """The most that the run can cost, from one timed pass; nothing is written."""
    from hauberk.evaluation.accuracy.suites import try_on
    from hauberk.evaluation.core.preflight import screen
    from hauberk.threats import Box
    from hauberk.victims.victim import Victim

    victim, box = Victim.of(model, options.batch_size), Box.of(options.box)
    x, y, _, victim = screen(victim, data.images, data.labels, box, options.seed)
    for threat, name, stage in suite.schedule(union.parts):
        try_on(threat, name, stage, x[:1], y[:1], box)
    each, classes = timed(victim, x)
    n, draws = len(x), victim.draws
    always, most = suite.passes(union.parts, classes)
    print(f"{n} examples, {len(union.parts)} threats, suite {suite.name}:")
    print(f"at most {always * draws} passes per example and about {minutes(always * each * n)}, "
          "if no point breaks; broken points leave early")  # fmt: skip
    if most > always:
        print(f"if the gradients seem masked: {most * draws} passes, {minutes(most * each * n)}")
    return 0


def _list_suites(options: Any) -> int:
    """Every suite, and the passes that a point costs which nothing breaks."""
    from hauberk.evaluation import SUITES
    from hauberk.threats import Union, threat

    texts = options.threat or ["linf:0.3", "l2:2", "l1:10"]
    parts = Union(*(threat(text) for text in texts)).parts
    print(f"passes per point that nothing breaks, at most, under {', '.join(map(str, parts))} "
          "with 10 classes")  # fmt: skip
    for suite in SUITES.values():
        print()
        try:
            always, most = suite.passes(parts)
        except InputError as error:
            print(f"{suite.name} (version {suite.version}): {error}")
            continue
        more = f", {most} if gradients seem masked" if most > always else ""
        print(f"{suite.name} (version {suite.version}): {always} passes{more}; {suite.about}")
        for name, stage in suite.stages.items():
            print(f"  {name:14} {stage.about()}")
    return 0


def timed(victim: "Victim", x: "Tensor") -> tuple[float, int]:
    """Seconds per pass and example, from one batch forwards and backwards; number of classes."""
    few = x[: victim.batch_size(x[:1])].to(victim.device)
    with victim.held():
        classes = victim.predict(few).shape[1]
        begun = time.perf_counter()
        u = few.clone().requires_grad_(True)
        # Moved to the host, the gradient is there: a GPU would still be computing it.
        victim.gradient(victim.logits(u).sum(), None, u).cpu()
        return (time.perf_counter() - begun) / 2 / len(few), classes


def recorded(options: Any) -> dict[str, Any]:
    """What a manifest says of the words that the command was given."""
    return {
        "model": options.model,
        "weights": options.weights,
        "weights_sha256": hashed(options.weights),
        "data": options.data,
        "limit": options.limit,
        "offset": options.offset,
        "command": sys.argv,
    }


def minutes(seconds: float) -> str:
    """A time, rounded for people."""
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"


def hashed(path: str | None) -> str | None:
    """SHA-256 of a file; None without one."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else None
