"""Arrays that the threats of a run name (masks, sizes of features): kept with its ledger."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hauberk.errors import InputError
from hauberk.spec.arrays import Array
from hauberk.store.files import put
from hauberk.store.ledger import Ledger, Store
from hauberk.threats.base import Threat
from hauberk.threats.features import Features

FOLDER = "arrays"


def arrays_in(value: Any) -> Iterator[Array]:
    """All arrays of threats and distances, in whatever mappings and sequences these stand.

    Example:
        >>> from hauberk import Linf
        >>> [array.name for array in arrays_in([Linf(0.1, fixed="0;2")])]
        ['0;2']
    """
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from arrays_in(one)
    elif isinstance(value, Threat):
        fit = getattr(value, "fit", None)
        if isinstance(fit, Features):
            yield from fit.arrays
        if value.parts != (value,):
            yield from arrays_in(value.parts)
        yield from arrays_in(getattr(value, "threat", None))


def recorded(question: Any, shape: Sequence[int] = ()) -> dict[str, Array]:
    """The arrays of a question's threats, distances and goal, by name.

    Args:
        shape: of all inputs of the run, ``(N, ...)``.

    Raises:
        InputError: for two files of one name whose contents differ, and for an array that has rows
            for another number of examples than the run.
    """
    places = ("threat", "threats", "metrics", "balls")
    found: dict[str, Array] = {}
    wanted = getattr(getattr(question, "goal", None), "arrays", [])
    of_threats = list(arrays_in([getattr(question, place, None) for place in places]))
    for array in of_threats:
        if array.value.dim() == len(shape) and len(array.value) != shape[0]:
            raise InputError(
                f"{array.name} has rows for {len(array.value)} examples but the run has "
                f"{shape[0]}: give one for each of them, in their order"
            )
    for array in (*of_threats, *wanted):
        if found.setdefault(array.name, array).digest != array.digest:
            raise InputError(f"{array.name} was changed while it was read: run again")
    return found


def facts(arrays: Mapping[str, Array]) -> dict[str, dict[str, str]]:
    """What a manifest says of them: the hash of each; nothing of none."""
    held = {name: array.digest for name, array in sorted(arrays.items())}
    return {"arrays": held} if held else {}


def keep(store: Store, arrays: Mapping[str, Array]) -> None:
    """Write them beside the parts of a ledger, so that a run can be verified without the files.

    Raises:
        InputError: if they cannot be written.
    """
    if store.path is None or not arrays:
        return
    folder = store.path / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        for array in arrays.values():
            file = folder / f"{array.digest}.npy"
            if not file.is_file():
                data = io.BytesIO()
                np.save(data, array.value.numpy(), allow_pickle=False)
                put(file, data.getvalue())
    except OSError as error:
        raise InputError(f"cannot write {folder} ({error.strerror or error})") from error


def held_by(ledger: Ledger) -> dict[str, Array]:
    """The arrays that a run was made with, by name.

    Raises:
        InputError: if one is missing, or is another than the manifest says.
    """
    found: dict[str, Array] = {}
    for name, digest in (ledger.manifest.get("arrays") or {}).items():
        file = ledger.path / FOLDER / f"{digest}.npy"
        try:
            array = Array(name, torch.from_numpy(np.load(file, allow_pickle=False)))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{file}, {name} of the run, cannot be read ({error})") from error
        if array.digest != digest:
            raise InputError(f"{file} is not what the run was made with: restore it from a copy")
        found[name] = array
    return found
