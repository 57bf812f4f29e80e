"""Do model, labels and inputs fit each other? Nonsense that would read as a result."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from hauberk.evaluation.core.findings import Finding
from hauberk.evaluation.core.sample import Sample

LEAST = 10
"""Examples below which nothing is said: too few to tell."""
ROOM = ((50, 0.12), (20, 0.06))
"""Numbers of examples, and the share of the way from chance to all right that counts as chance with
so many: a net that nobody trained is somewhat better than chance on some classes."""

STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "mnist": ((0.1307,), (0.3081,)),
}
"""Means and deviations that models of these data are often trained with."""


def fewer_named(names: Sequence[str], classes: int) -> list[Finding]:
    """A finding where data name fewer classes than the model tells apart: their numbers may differ.

    Args:
        names: of the classes of the data, in the order of their numbers; none where unknown.
        classes: outputs of the model.

    Example:
        >>> print(*fewer_named(["ant", "bee"], 1000))
        the data have 2 classes (0 is 'ant'), the model 1000 outputs. Say with --classes FILE ...
        >>> fewer_named(["ant", "bee"], 2)
        []
    """
    if not 0 < len(names) < classes:
        return []
    return [
        Finding.of(
            "fewer classes in the data",
            f"the data have {len(names)} classes (0 is '{names[0]}'), the model {classes} outputs",
            "Say with --classes FILE which output is which class, or the numbers are not the "
            "model's",
        )
    ]


def misfits(sample: Sample, weights: bool = True) -> list[Finding]:
    """What speaks for other labels, other inputs or another model than were meant; one at most.

    Args:
        weights: False if it is known that the model was given none.
    """
    if len(sample) < LEAST:
        return []
    for check in (shifted, permuted, reread):
        if found := check(sample):
            return [found]
    found = at_chance(sample, weights) or all_grey(sample)
    return [] if found is None else [found]


def at_chance(sample: Sample, weights: bool = True) -> Finding | None:
    """A finding if the model is right no more often than by chance."""
    n, right = len(sample), sample.right
    mean, _ = sample.chance()
    room = next((share for least, share in ROOM if n >= least), 0.0)
    if right > mean + min(room * (n - mean), 1.5 * mean):
        return None
    given = sample.predicted.unique()
    always = f", always for class {int(given[0])}" if len(given) == 1 else ""
    causes = [
        *([] if weights else ["no --weights were given"]),
        *(["the weights are not loaded"] if weights else []),
        *(["all images are grey"] if grey(sample.x) else []),
        "the inputs are not normalised as in training",
        "the labels are those of other classes",
    ]
    return Finding.of(
        "clean accuracy at chance",
        f"the model decides rightly on {right} of {n} clean inputs{always}, hardly more than by "
        f"chance ({mean:.3g})",
        f"Find the cause before attacking it: {', or '.join(causes)}",
    )


def shifted(sample: Sample) -> Finding | None:
    """A finding if labels one higher or lower fit much better."""
    n, right = len(sample), sample.right
    if len(sample.predicted.unique()) < 2:
        return None
    for by, remedy in ((1, "add 1 to"), (-1, "subtract 1 from")):
        fit = int((sample.predicted == sample.y + by).sum())
        if fit >= max(0.5 * n, 2 * right, 5):
            return Finding.of(
                "labels off by one",
                f"the model agrees with the labels on {right} of {n} clean inputs, and on {fit} if "
                f"every label is one {'higher' if by > 0 else 'lower'}: the labels seem to be off "
                "by one",
                f"Number the classes as the model does: {remedy} every label",
            )
    return None


def permuted(sample: Sample) -> Finding | None:
    """A finding if the model means other numbers by the classes that the labels name."""
    moves: dict[int, int] = {}
    fit = known = right = 0
    for label in sample.y.unique().tolist():
        given = sample.predicted[sample.y == label]
        counts = torch.bincount(given)
        most, many = int(counts.argmax()), int(counts.max())
        if len(given) < 3 or many < 0.6 * len(given):
            continue
        moves[label] = most
        known, fit, right = (
            known + len(given), fit + many, right + int((given == label).sum())
        )  # fmt: skip
    moved = {a: b for a, b in moves.items() if a != b}
    if len(moved) < 2 or len(set(moves.values())) < len(moves):
        return None
    # Classes that only trade places among themselves cannot be a weak model's confusions.
    closed = set(moved) == set(moved.values())
    if not closed and (fit < 0.6 * len(sample) or 2 * sample.right > fit):
        return None
    shown = ", ".join(f"{a} as {b}" for a, b in list(moved.items())[:4])
    more = ", ..." if len(moved) > 4 else ""
    return Finding.of(
        "labels permuted",
        f"the model agrees with the labels on {right} of {known} clean inputs, and on {fit} if "
        f"the classes are numbered otherwise (it takes {shown}{more})",
        "Number the classes as the model does: its order and that of the data differ",
    )


def grey(x: Tensor) -> bool:
    """Whether all of several colour images (n, 3, H, W) are grey."""
    return x.dim() == 4 and x.shape[1] == 3 and bool((x == x[:, :1]).all())


def all_grey(sample: Sample) -> Finding | None:
    """A finding if a net for colours is given grey images, and is not good at them."""
    n, right = len(sample), sample.right
    if not grey(sample.x) or right >= 0.9 * n:
        return None
    return Finding.of(
        "grey images in a colour net",
        f"the model decides rightly on {right} of {n} clean inputs, and all images are grey, given "
        "in three channels",
        "If it was trained on colours, give it images in colour",
    )


def reread(sample: Sample) -> Finding | None:
    """A finding if the model fits the same inputs much better when they are read otherwise."""
    n, right = len(sample), sample.right
    if n < 20 or right >= 0.9 * n:
        return None
    best: tuple[int, str, str] | None = None
    for what, remedy, change in _readings(sample):
        other = change(sample.x)
        if other.equal(sample.x):
            continue
        try:
            fit = int((sample.predict(other) == sample.y).sum())
        except Exception:  # noqa: BLE001  # a user's model may refuse such inputs
            continue
        if best is None or fit > best[0]:
            best = fit, what, remedy
    mean, deviation = sample.chance()
    if best is None or best[0] < max(right + 5, right + 0.15 * n, mean + 3 * deviation):
        return None
    return Finding.of(
        "inputs read otherwise",
        f"the model decides rightly on {right} of {n} clean inputs, and on {best[0]} of the same "
        f"inputs {best[1]}",
        best[2],
    )


Reading = tuple[str, str, Callable[[Tensor], Tensor]]


def _readings(sample: Sample) -> Iterator[Reading]:
    """Ways to read inputs that are often mixed up: words, remedy, and the change."""
    x = sample.x
    lo, hi = float(x.min()), float(x.max())
    images = x.dim() == 4
    inside = "What the model needs belongs into it, so that sizes keep their meaning"
    if images and x.shape[1] == 3:
        yield (
            "with their colours in the other order (BGR)",
            "Give the colours in the order of the training", lambda v: v.flip(1),
        )  # fmt: skip
    if images and x.shape[2] == x.shape[3]:
        yield (
            "with rows and columns exchanged", "Exchange height and width of the images",
            lambda v: v.transpose(2, 3),
        )  # fmt: skip
    if lo >= 0 and hi <= 1:
        yield (
            "times 255",
            f"They were divided by 255 too often, or it was trained on 0 to 255. {inside}",
            lambda v: v * 255,
        )  # fmt: skip
        yield "scaled to [-1, 1]", f"It was trained on [-1, 1]. {inside}", lambda v: 2 * v - 1
        yield "inverted (1 - x)", "Invert the images", lambda v: 1 - v
    if hi > 2 and hi <= 255:
        by = 16 if hi <= 16 else 255
        yield f"divided by {by}", f"It was trained on [0, 1]. {inside}", lambda v: v / by
    for name, (mean, std) in STATISTICS.items():
        if images and x.shape[1] == len(mean) and lo >= 0 and hi <= 1:
            yield (
                f"normalised with mean and std of {name}",
                f"It was trained on normalised inputs. {inside}",
                partial(_normalised, mean=mean, std=std),
            )  # fmt: skip


def _normalised(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    m, s = (torch.tensor(v, dtype=x.dtype).view(-1, 1, 1) for v in (mean, std))
    return (x - m) / s
