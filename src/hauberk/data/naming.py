"""Which arrays or columns are the images, and which the labels, by their usual names."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hauberk.errors import InputError

_IMAGES = {
    "images", "image", "img", "imgs", "pixel_values", "pixels", "x", "xs", "data", "inputs",
    "input", "features", "feature", "samples", "picture", "pictures", "jpg", "jpeg", "png", "webp",
    "arr_0",
}  # fmt: skip
_LABELS = {
    "labels", "label", "lbl", "y", "ys", "targets", "target", "fine_label", "fine_labels", "class",
    "cls", "class_id", "class_idx", "category", "digit", "species", "arr_1",
}  # fmt: skip
_SPLITS = {
    "train": "train", "training": "train", "tr": "train", "test": "test", "te": "test",
    "testing": "test", "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip


class PairNames(NamedTuple):
    """The names of the images and of their labels."""

    images: str
    labels: str


def role(name: str) -> tuple[str, str] | None:
    """What a name stands for, "images" or "labels", and of which split ("" if it does not say).

    Example:
        >>> role("x_test"), role("trainLabels"), role("fine_label"), role("weights")
        (('images', 'test'), ('labels', 'train'), ('labels', ''), None)
    """
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    for split_first in (None, True, False):
        stem, split = words, ""
        if split_first is not None:
            head, _, rest = words.partition("_") if split_first else words.rpartition("_")
            stem, split = (rest, head) if split_first else (head, rest)
            if split not in _SPLITS:
                # x1test and the like are no names that anybody gives; xtest and ytrain are.
                glued = re.fullmatch(r"([xy])_?(train|test|val|valid)", words)
                if not glued:
                    continue
                stem, split = glued[1], glued[2]
        for kind, stems in (("images", _IMAGES), ("labels", _LABELS)):
            if stem in stems:
                return kind, _SPLITS.get(split, "")
    return None


def pair_of(
    names: Iterable[str], spec: str, words: tuple[str, ...] = (), how: str = "",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> PairNames:  # fmt: skip
    """The names of images and labels among those that there are.

    Args:
        names: those that there are.
        spec: the name of the data set, for error messages.
        words: what the user said of them: a split, or the two names.
        how: how to write the two names, for error messages.
        shapes: of the arrays; of two with other names, the one of a number an example is the
            labels.

    Raises:
        InputError: unless there is one such pair.

    Example:
        >>> pair_of(["x_train", "y_train", "x_test", "y_test"], "mine", ("test",))
        PairNames(images='x_test', labels='y_test')
    """
    there = list(names)
    shown = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
    how = how or f"{spec}:IMAGES:LABELS"
    if len(words) == 2:
        for word in words:
            if word not in there:
                raise InputError(f"{spec}: there is no '{word}' among {shown}: name another")
        return PairNames(*words)
    if len(words) > 2 or (words and words[0].lower() not in _SPLITS):
        raise InputError(f"{spec}: ':{':'.join(words)}' names no split and no pair: write {how}")
    found = groups(there)
    whole = {split: kinds for split, kinds in found.items() if len(kinds) == 2}
    if words:
        split = _SPLITS[words[0].lower()]
        if split not in whole:
            raise InputError(f"{spec}: no images and labels of {words[0]} among {shown}")
        whole = {split: whole[split]}
    if not whole and shapes and len(there) == 2 and not words:
        one, two = there
        for images, labels in ((one, two), (two, one)):
            n = shapes[images][:1]
            if len(shapes[images]) > 1 and n and shapes[labels] in (n, (*n, 1)):
                return PairNames(images, labels)
    if not whole:
        lacks = " and no ".join(_lacking(found))
        raise InputError(f"{spec}: it holds {shown or 'nothing'}, but no {lacks}: write {how}")
    if len(whole) > 1:
        raise InputError(
            f"{spec}: it holds {shown}: say which, {' or '.join(f'{spec}:{s}' for s in whole if s)}"
            f", or {how}"
        )
    kinds = next(iter(whole.values()))
    for kind, several in kinds.items():
        if len(several) > 1:
            raise InputError(
                f"{spec}: {' and '.join(several[:3])} can both be the {kind}: write {how}"
            )
    return PairNames(kinds["images"][0], kinds["labels"][0])


def groups(names: Iterable[str]) -> Mapping[str, dict[str, list[str]]]:
    """The names that are known, by split and role."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in names:
        if known := role(name):
            found.setdefault(known[1], {}).setdefault(known[0], []).append(name)
    return found


def _lacking(found: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    known = {kind for kinds in found.values() for kind in kinds}
    return [kind for kind in ("images", "labels") if kind not in known] or ["such pair"]
