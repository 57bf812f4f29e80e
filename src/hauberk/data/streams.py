"""Data sets that can only be gone through: iterables of examples or of batches."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.data.dataset import Array
from hauberk.data.items import (
    Pair,
    are_names,
    arranged,
    is_array,
    is_batch,
    labels_of,
    split_item,
    stack,
)
from hauberk.data.reading import Reading
from hauberk.data.source import RawData, Request
from hauberk.errors import InputError
from hauberk.spec.imports import one_line


class InOrder:
    """What can only be gone through from its beginning: it is counted first, then read in order.

    Args:
        found: the iterable, of items or of batches; one that can be gone through only once and
            cannot be made again is held in memory.
        request: its name and how to read it; no more of it is counted than is needed.
        again: makes it anew.
    """

    def __init__(self, found: Any, request: Request, again: Callable[[], Any] | None) -> None:
        self.found, self.request = found, request
        self.again = again
        self.left: Iterator[Pair] = iter(())
        self.rest: Pair | None = None
        self.at = -1

    def raw(self) -> RawData:
        """The data set."""
        once = iter(self.found) is self.found
        keep, most = once and self.again is None, self.request.stop
        kept: list[Pair] = []
        labels: list[Array] = []
        count = 0
        for images, some in self.parts():
            labels.append(some)
            count += len(some)
            if keep:
                kept.append((images, some))
            # The number of a name follows from all names that there are.
            if most is not None and count >= most and not are_names(some):
                break
        if not count:
            return RawData(0, lambda a, b: (np.zeros((0, 1)), np.zeros(0)))
        known = joined(labels)
        if keep:
            held = joined([images for images, _ in kept])
            return RawData(
                count,
                lambda a, b: (held[a:b], known[a:b]),
                None,
                lambda a, b: known[a:b],
                fitted=True,
            )
        self.known = known
        return RawData(count, self.read, labels=lambda a, b: known[a:b], fitted=True)

    def parts(self) -> Iterator[Pair]:
        """All batches, from the first on."""
        source = self.found
        if self.again is not None and iter(source) is source:
            source = self.again()
        return batches(source, self.request.reading, self.request.spec)

    def read(self, start: int, stop: int) -> Pair:
        """The examples of a window; what came before is gone through again if need be."""
        if self.at < 0 or start < self.at:
            self.left, self.rest, self.at = self.parts(), None, 0
        found: list[Pair] = []
        while self.at < stop:
            images, labels = self.rest or next(self.left, (np.zeros(0), np.zeros(0)))
            self.rest = None
            n = len(labels)
            if not n:
                raise self.changed()
            first, last = max(0, start - self.at), min(n, stop - self.at)
            if first < last:
                found.append((images[first:last], labels[first:last]))
            if last < n:
                self.rest, self.at = (images[last:], labels[last:]), self.at + last
                break
            self.at += n
        labels = joined([labels for _, labels in found])
        if not same(labels, self.known[start:stop]):
            raise self.changed()
        return joined([images for images, _ in found]), labels

    def changed(self) -> InputError:
        """What is wrong where a second look shows something else."""
        return InputError(
            f"data {self.request.spec!r} gives other examples the second time: leave shuffling and "
            "random augmentation out, or give arrays"
        )


def batches(found: Iterable[Any], reading: Reading, spec: str, start: int = 0) -> Iterator[Pair]:
    """Images and labels of each batch, or each single item, of what is gone through.

    Args:
        found: gives items, (image, label) and the like, or batches of them.
        reading: how images are made alike.
        spec: the name of the data set; start: the position of its first item, for error messages.

    Raises:
        InputError: if it fails, or gives something else.
    """
    at = start
    iterator = iter(found)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"data {spec!r}: reading item {at} failed: {one_line(error, place=True)}"
            ) from error
        images, labels = split_item(item, spec, at)
        if not is_batch(images, labels):
            images, labels = [images], [labels]
        if is_array(images):
            pair = arranged(images, reading, spec), labels_of(labels, spec)
        else:
            pair = stack(images, reading, spec, at), labels_of(labels, spec)
        yield pair
        at += len(pair[1])


def joined(parts: list[Array]) -> Array:
    """Several arrays or tensors as one."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, Tensor) for part in parts):
        return torch.cat([torch.as_tensor(part) for part in parts])
    return np.concatenate([np.asarray(part) for part in parts])


def same(one: Any, two: Any) -> bool:
    """Whether two arrays are equal, NaN and NaN being so."""
    return np.array_equal(
        np.asarray(one), np.asarray(two), equal_nan=np.asarray(one).dtype.kind == "f"
    )
