"""Torch's loaders: their examples by position, in an order that does not change."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Subset

from hauberk.data.items import Pair
from hauberk.data.source import RawData, Request
from hauberk.data.streams import batches, joined, same
from hauberk.errors import InputError

_LOOKS = 8


def of_loader(loader: DataLoader[Any], request: Request) -> RawData:
    """The examples of a loader in the order of their positions, collated and worked as it says.

    Args:
        loader: of a map-style data set. Its sampler says which examples; shuffled ones are taken
            in increasing order. Its collation and its workers are used.
        request: its name, and how images are made alike.

    Raises:
        InputError: for a sampler that draws other examples each time.
    """
    spec, reading = request.spec, request.reading
    order = _order(loader, spec)

    def read(start: int, stop: int) -> Pair:
        part: DataLoader[Any] = DataLoader(
            Subset(loader.dataset, order[start:stop]),
            batch_size=loader.batch_size or 1,
            collate_fn=loader.collate_fn if loader.batch_size else None,
            num_workers=loader.num_workers if stop - start > 64 else 0,
            worker_init_fn=loader.worker_init_fn,
            generator=torch.Generator().manual_seed(0),
        )
        found = list(batches(part, reading, spec, start))
        return joined([images for images, _ in found]), joined([labels for _, labels in found])

    return RawData(len(order), steady(read, spec), fitted=True)


def _order(loader: DataLoader[Any], spec: str) -> list[int]:
    """Positions in its data set, as its sampler gives them; shuffled ones in increasing order."""

    def listed() -> list[int]:
        sampler: Any = loader.sampler
        if loader.batch_sampler is not None and type(loader.batch_sampler) is not BatchSampler:
            return [int(index) for batch in loader.batch_sampler for index in batch]
        return [int(index) for index in sampler]

    generators = [g for g in (loader.generator, getattr(loader.sampler, "generator", None)) if g]
    before = [g.get_state() for g in generators]
    with torch.random.fork_rng(devices=[]):
        one, two = listed(), listed()
    for generator, state in zip(generators, before, strict=True):
        generator.set_state(state)
    if one == two and not _shuffles(loader):
        return one
    if sorted(one) != sorted(two) or len(set(one)) < len(one):
        raise InputError(
            f"data {spec!r} draws other examples each time ({type(loader.sampler).__name__}): give "
            "its data set, and sample= (--sample) for some of them"
        )
    return sorted(one)


def _shuffles(loader: DataLoader[Any]) -> bool:
    return "Random" in type(loader.sampler).__name__


def steady(read: Callable[[int, int], Pair], spec: str) -> Callable[[int, int], Pair]:
    """The same, which looks twice at its first examples: random augmentation would show.

    Args:
        read: gives images and labels of a window.
        spec: the name of the data set, for error messages.
    """
    seen: list[bool] = []

    def checked(start: int, stop: int) -> Pair:
        if not seen and stop - start > 1:
            seen.append(True)
            few = min(stop, start + _LOOKS)
            with torch.random.fork_rng(devices=[]):
                one, two = read(start, few), read(start, few)
            for k in range(few - start):
                if not all(same(a[k], b[k]) for a, b in zip(one, two, strict=True)):
                    raise InputError(
                        f"data {spec!r}: example {start + k} differs from one reading to the next: "
                        "leave random augmentation out, so that a run can be verified"
                    )
            if stop == few:
                return one
        return read(start, stop)

    return checked
