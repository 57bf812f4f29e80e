"""Adversarial points of a run as files: PNG or arrays, rounded to 8 bits and judged again."""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.errors import InputError
from hauberk.evaluation.core.eight_bits import to_bytes
from hauberk.evaluation.core.given import held_by
from hauberk.evaluation.core.judge import Verdict
from hauberk.evaluation.core.prepare import Model, Setting, box_of
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.run import originals
from hauberk.evaluation.core.summary import RunResult
from hauberk.evaluation.core.task import Task
from hauberk.evaluation.core.verify import victims_of
from hauberk.evaluation.load import load
from hauberk.spec.arrays import given
from hauberk.store.files import plain, put, to_json
from hauberk.store.ledger import Ledger, places
from hauberk.store.png import png

KINDS = ("accuracy", "radius", "sizes", "universal")
FORMATS = ("png", "npz")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        points: how many points the run calls broken, one of each example and threat.
        survived: how many of them still are after rounding to 8 bits, inside the threat and
            breaking the model, as the judge finds.
        threats: the same by threat.

    Example:
        >>> print(Exported(Path("images"), 4, 3, {"linf:0.1": {"points": 4, "survived": 3}}))
        3 of 4 adversarial points survive rounding to 8 bits
          linf:0.1: 3 of 4
        images
    """

    folder: Path
    points: int
    survived: int
    threats: dict[str, dict[str, int]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.survived} of {self.points} adversarial points survive rounding to 8 bits"]
        lines += [f"  {name}: {t['survived']} of {t['points']}" for name, t in self.threats.items()]
        return "\n".join([*lines, str(self.folder)])


@dataclass
class _Found:
    """Points of one task in one block, as they are and rounded."""

    threat: str
    ids: Tensor
    labels: Tensor
    clean: Tensor
    points: Tensor
    whole: Tensor
    verdict: Verdict


def export(
    run: str | Path | RunResult, model: Model, out: str | Path, *, format: str = "png",
    batch_size: int | None = None, objects: Mapping[str, Any] | None = None,
) -> Exported:  # fmt: skip
    """Write the adversarial points of a run, rounded to 8 bits towards the clean images.

    The judge decides again what a rounded point does to the model. ``png`` writes an image of every
    point that survives, ``THREAT/ID-LABEL-PREDICTION.png``; ``npz`` one file for each threat with
    all points: ``points`` as the run found them, ``images`` (uint8) and ``survived``, beside
    ``ids``, ``labels`` and the ``clean`` inputs. Both leave ``export.json``, a row a point.

    Args:
        run: the folder, or the result, of a run of :func:`hauberk.evaluate`,
            :func:`hauberk.radius`, :func:`hauberk.evaluation.at_sizes` or
            :func:`hauberk.universal`.
        model: the model of the run.
        out: a folder, new or empty.
        format: ``png`` or ``npz``.
        batch_size: examples through the model at once; chosen if left out.
        objects: what a manifest cannot hold as text, as of :func:`hauberk.verify`.

    Raises:
        InputError: for another kind of run, a folder that holds something, inputs that are no
            images, and a box without ends.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> with TemporaryDirectory() as folder:
        ...     run = f"{folder}/run"
        ...     _ = hb.evaluate(net, x, net(x).argmax(1), "linf:0.5", suite="fast", out=run)
        ...     found = export(run, net, f"{folder}/points", format="npz")
        >>> found.survived <= found.points
        True
    """
    if format not in FORMATS:
        raise InputError(f"format is {format}: give png or npz")
    place = run.path if isinstance(run, RunResult) else Path(run)
    if place is None:
        raise InputError("the run is in memory alone: give it out=, a folder, and export that")
    ledger, folder = Ledger.open(place), Path(out)
    kind = str(ledger.manifest.get("kind"))
    if kind not in KINDS:
        raise InputError(f"a run of kind {kind} cannot be exported: {', '.join(KINDS)} can")
    load(place, objects=objects)  # refuses what is unfinished
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something: give a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        seen: dict[str, set[int]] = {}
        kept: dict[str, list[_Found]] = {}
        for found in _points(ledger, model, batch_size, objects or {}, seen):
            if format == "png":
                names = list(_images(folder, found))
            else:
                kept.setdefault(found.threat, []).append(found)
                names = [f"{_name(found.threat)}.npz"] * len(found.ids)
            rows += _rows(found, names)
        for threat, several in kept.items():
            put(folder / f"{_name(threat)}.npz", _arrays(several))
        counts = {name: {"points": 0, "survived": 0} for name in dict.fromkeys(_threats(ledger))}
        for row in rows:
            own = counts.setdefault(row["threat"], {"points": 0, "survived": 0})
            own["points"] += 1
            own["survived"] += row["survived"]
        made = Exported(folder, len(rows), sum(r["survived"] for r in rows), counts)
        numbers = {**asdict(made), "folder": str(folder), "run": str(place), "rows": rows}
        put(folder / "export.json", to_json(plain(numbers)))
    except OSError as error:
        raise InputError(f"cannot write {folder} ({error.strerror or error})") from error
    return made


def _points(
    ledger: Ledger, model: Model, batch_size: int | None, objects: Mapping[str, Any],
    seen: dict[str, set[int]],
) -> Iterator[_Found]:  # fmt: skip
    """The points of a run, one of each example and threat, rounded and judged."""
    manifest = ledger.manifest
    with given(held_by(ledger)):
        question = Question.kinds[str(manifest["kind"])].of(manifest, objects)
    box, size = box_of(manifest), int(manifest["block"])
    victims = victims_of(manifest, model, batch_size)
    keys = ledger.keys("clean-")
    x, y, ids = originals(ledger, keys[0])
    victim = next(iter(victims.values()))
    with victim.held():
        classes = victim.predict(x[:1]).shape[1]
    setting = Setting(victims, x, y, ids, box, int(manifest["seed"]), classes=classes)
    question = question.recall(setting)
    judge = question.judge(setting)
    tasks, across = list(question.tasks(setting)), list(question.across(ledger))
    all_keys = ledger.keys("")
    for number, key in enumerate(keys):
        x, y, ids = originals(ledger, key)
        for task in (*tasks, *across):
            for part in all_keys:
                if not (task.owns(part, number) or (task in across and part == task.key)):
                    continue
                rows, points = _broken(ledger, part, task, seen, ids)
                at = torch.from_numpy(places(ids.numpy(), rows))
                if not len(at):
                    continue
                start = x[at]
                whole, rounded = to_bytes(points, start, box)
                threat = task.threat.take(at + number * size)
                verdict = judge.look(threat, start, rounded, judge.aims(y[at], ids[at]), ids[at])
                yield _Found(str(task.threat), ids[at], y[at], start, points, whole, verdict)


def _broken(
    ledger: Ledger, part: str, task: Task, seen: dict[str, set[int]], ids: Tensor
) -> tuple[Any, Tensor]:
    """Ids and points of a part, of the examples ``ids``, that no earlier part of the threat had."""
    columns, known = ledger.part(part), seen.setdefault(str(task.threat), set())
    hit = columns["broken"].astype(bool) & ~np.isin(columns["id"], list(known))
    hit &= np.isin(columns["id"], ids.numpy())
    known.update(columns["id"][hit].tolist())
    rows = torch.from_numpy(columns["row"][hit].astype(np.int64))
    return columns["id"][hit], ledger.tensors(part)["points"][rows]


def _images(folder: Path, found: _Found) -> Iterator[str]:
    """Write the images of the points that survive; the names of all, empty for the others."""
    place = folder / _name(found.threat)
    place.mkdir(exist_ok=True)
    for row in range(len(found.ids)):
        name = ""
        if bool(found.verdict.broken[row]):
            said = int(found.verdict.prediction[row])
            name = f"{place.name}/{int(found.ids[row])}-{int(found.labels[row])}-{said}.png"
            put(folder / name, png(_pixels(found.whole[row])))
        yield name


def _pixels(image: Tensor) -> Any:
    """An image as PNG has it, ``(H, W)`` or ``(H, W, 3)``.

    Raises:
        InputError: for inputs of another shape.
    """
    if image.dim() == 3 and image.shape[0] in (1, 3):
        image = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    elif image.dim() != 2:
        raise InputError(
            f"inputs of shape {tuple(image.shape)} are no images (1 or 3 channels): export npz"
        )
    return image.cpu().numpy()


def _arrays(several: list[_Found]) -> bytes:
    data = io.BytesIO()
    together: dict[str, Any] = {
        "ids": [f.ids for f in several], "labels": [f.labels for f in several],
        "clean": [f.clean for f in several], "points": [f.points for f in several],
        "images": [f.whole for f in several], "survived": [f.verdict.broken for f in several],
        "prediction": [f.verdict.prediction for f in several],
    }  # fmt: skip
    arrays: dict[str, Any] = {name: torch.cat(v).cpu().numpy() for name, v in together.items()}
    np.savez(data, **arrays)
    return data.getvalue()


def _rows(found: _Found, names: list[str]) -> list[dict[str, Any]]:
    verdict = found.verdict
    return [
        {
            "id": int(found.ids[k]), "label": int(found.labels[k]), "threat": found.threat,
            "prediction": int(verdict.prediction[k]), "survived": bool(verdict.broken[k]),
            "allowed": bool(verdict.allowed[k]), "distance": float(verdict.distance[k]),
            "file": names[k],
        }
        for k in range(len(found.ids))
    ]  # fmt: skip


def _threats(ledger: Ledger) -> list[str]:
    facts = ledger.manifest
    return list(facts.get("threats") or facts.get("metrics") or [facts.get("threat")])


def _name(threat: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", threat).strip("-.")
