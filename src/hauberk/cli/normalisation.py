"""``--mean`` and ``--std`` of one or several models: what they stand for, and from a manifest."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from hauberk.cli.options import BoxOption, Command, LoadingOptions, ModelOptions, ModelsOptions
from hauberk.errors import InputError

L = TypeVar("L", bound=LoadingOptions)


def of_each(options: ModelsOptions, name: str) -> list[str | None]:
    """The mean or std of every model: one for all, or one for each."""
    given, many = getattr(options, name), len(options.model)
    if len(given) not in (0, 1, many):
        raise InputError(
            f"{many} models but {len(given)} of --{name}: give it once, or once for every --model "
            "in the same order ('none' for a model that takes the inputs as they are)"
        )
    return [*given] if len(given) == many else [*(given or [None])] * many


def recalled(options: L, manifest: Mapping[str, Any]) -> L:
    """A command with the mean and std that a run was begun with, unless it names its own.

    Args:
        options: of loading; manifest: of the run.
    """
    if options.mean or options.std or "mean" not in manifest:
        return options

    def text(values: Any) -> str:
        return ",".join(map(repr, values)) if values else "none"

    def several(values: Any) -> list[str]:
        one = values is None or not isinstance(values[0], list | None)
        return [text(values)] if one else [text(each) for each in values]

    found = {name: several(manifest[name]) for name in ("mean", "std")}
    one = isinstance(options, ModelOptions)
    changed: dict[str, Any] = {name: each[0] if one else each for name, each in found.items()}
    return replace(options, **changed)


def ends(how: Command, box: Any) -> tuple[Any, Any]:
    """The ends of the box, numbers or lists."""
    from hauberk.threats.base import Box

    if box is None:
        box = how.box if isinstance(how, BoxOption) else (0.0, 1.0)
    lo, hi = (end.tolist() if hasattr(end, "tolist") else end for end in vars(Box.of(box)).values())
    return lo, hi
