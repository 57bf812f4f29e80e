"""Models and data that the options name, and what a manifest records of them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hauberk.cli.normalisation import ends, of_each
from hauberk.cli.options import (
    BoxOption,
    DataOptions,
    DeviceOptions,
    LoadingOptions,
    ModelOptions,
    ModelsOptions,
)
from hauberk.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hauberk.data.dataset import Dataset, OpenDataset
    from hauberk.data.reading import Reading
    from hauberk.threats import Threat
    from hauberk.victims.victim import Victim

D = TypeVar("D", bound=DataOptions)

NO_MODEL = (
    "no model: give --model package.module:name, --model file.py:name, --model timm:NAME (or "
    "hf:DIR, torchvision:NAME, ...) or, of one that hauberk trained, --model RUN/model.yaml"
)
NO_DATA = "no data: give --data, e.g. digits:test, mnist:test or npz:FILE"


class NamedModel(NamedTuple):
    """Where a model comes from: its name, a file of weights, and how they are loaded."""

    spec: str
    weights: str | None
    ignore_keys: tuple[str, ...] = ()
    dtype: str | None = None
    download: bool = False
    mean: str | None = None
    std: str | None = None
    box: tuple[Any, Any] = (0.0, 1.0)

    def load(self) -> "nn.Module":
        """The model, in eval mode.

        Raises:
            InputError: if it cannot be made.
        """
        from hauberk.models.loading import load_model

        how = self._asdict()
        return load_model(how.pop("spec"), how.pop("weights"), **how)


def named_model(
    model: str | None, weights: str | None, how: LoadingOptions | None = None,
    mean: str | None = None, std: str | None = None, box: Any = None,
) -> NamedModel:  # fmt: skip
    """A model of ``--model`` and ``--weights``, also where ``--model`` is a training's folder.

    Args:
        model, weights: as on the command line.
        how: the other options of loading.
        mean, std: of this model, where ``how`` has those of several.
        box: valid range of the inputs; that of ``how`` if left out.

    Raises:
        InputError: if there is none, or the training has left none.
    """
    from hauberk.models.saved import resolve_model, saved_normalisation

    if not model:
        raise InputError(NO_MODEL)
    spec, file = resolve_model(model, weights)
    if isinstance(how, ModelOptions):
        mean, std = how.mean, how.std
    if mean is None and std is None:  # which the folder of a training may know
        mean, std = saved_normalisation(model) or (None, None)
    if how is None:
        return NamedModel(spec, file, mean=mean, std=std)
    return NamedModel(
        spec, file, tuple(how.ignore_keys), how.dtype, how.download, mean, std, ends(how, box)
    )


def named_models(options: ModelsOptions, box: Any = None) -> list[NamedModel]:
    """All models, each with its weights.

    Args:
        box: valid range of the inputs; that of the options if left out.

    Raises:
        InputError: if the numbers of models, weights and names differ, or a file is not there.
    """
    from hauberk.models.files import path_and_key

    models, weights, names = options.model, options.weights, options.name
    if not models:
        raise InputError(NO_MODEL)
    if weights and len(weights) != len(models):
        raise InputError(
            f"{len(models)} models but {len(weights)} weights: give --weights once for every "
            "--model, in the same order ('none' for a model that needs none), or not at all"
        )
    if names and len(names) != len(models):
        raise InputError(
            f"{len(models)} models but {len(names)} names: give --name once for every --model, in "
            "the same order, or not at all"
        )
    if len(set(names)) < len(names):
        raise InputError(f"names {', '.join(names)}: give every model a --name of its own")
    absent = ("", "none")
    files = [None if w.strip().lower() in absent else str(Path(w).expanduser()) for w in weights]
    for file in filter(None, files):
        if not path_and_key(file)[0].is_file():
            raise InputError(f"weights {file}: there is no such file: give another --weights")
    rows = zip(
        models, files or [None] * len(models), of_each(options, "mean"), of_each(options, "std"),
        strict=True,
    )  # fmt: skip
    return [named_model(name, file, options, mean, std, box) for name, file, mean, std in rows]


def names_of(named: Sequence[NamedModel]) -> list[str]:
    """A name for each model: its weights' or, where these are called best or last, its folder's.

    Args:
        named: the models.

    Example:
        >>> names_of([NamedModel("a:net", "runs/msd/best.safetensors"), NamedModel("a:net", None)])
        ['msd', 'net']
    """
    found: list[str] = []
    for spec, weights, *_ in named:
        path = Path(weights) if weights else None
        own = spec.rpartition(":")[2].partition(",")[0]
        name = Path(own).name if path is None else path.stem
        name = name.removesuffix(".yaml")
        if path is not None and name in ("best", "last") and path.resolve().parent.name:
            name = path.resolve().parent.name
        if path is not None and ":" in path.suffix:  # one of several in a file
            name = f"{name}:{path.suffix.rpartition(':')[2]}"
        again = sum(other == name or other.startswith(f"{name} (") for other in found)
        found.append(f"{name} ({again + 1})" if again else name)
    return found


def load_named(named: NamedModel, options: DeviceOptions) -> "nn.Module":
    """The model, on its device.

    Raises:
        InputError: if it cannot be made, or the device cannot be used.
    """
    from hauberk.machines.devices import device_named, placed

    device_named(options.device)  # refused before the model is made
    return placed(named.load(), options.device)


def load_by_name(
    named: Sequence[NamedModel], options: ModelsOptions, device: DeviceOptions
) -> "dict[str, nn.Module]":
    """Models by the names that were given, or by names of their own (:func:`names_of`).

    Raises:
        InputError: as :func:`load_named` does.
    """
    names = options.name or names_of(named)
    return {name: load_named(one, device) for name, one in zip(names, named, strict=True)}


def load_models(
    options: ModelsOptions, device: DeviceOptions, box: Any = None
) -> "dict[str, nn.Module] | list[nn.Module]":
    """All models, by name where they have names; ``box`` as of :func:`named_models`.

    Raises:
        InputError: as :func:`named_models` and :func:`load_named` do.
    """
    models = [load_named(named, device) for named in named_models(options, box)]
    return dict(zip(options.name, models, strict=True)) if options.name else models


def settle_threads(
    options: DeviceOptions, models: "Iterable[nn.Module | Victim]", images: "Tensor"
) -> None:
    """Choose the number of threads for what follows, where that is no run that chooses its own.

    Args:
        models: what will be run; images: on batches of these, ``(N, ...)``.

    Raises:
        InputError: for a number below 1.
    """
    from hauberk.victims.batch_size import settle_batch
    from hauberk.victims.threads import choose, set_threads, tell
    from hauberk.victims.victim import Victim

    victims = [Victim.of(model, options.batch_size) for model in models]
    chosen = choose(victims, images, options.threads)
    with chosen.used():
        for victim in victims:
            settle_batch(victim, images[: min(64, victim.batch_size(images[:1]))])
    if any(victim.exact is not None for victim in victims):  # could not be timed before
        chosen = choose(victims, images, options.threads)
    set_threads(tell(chosen).number)


def load_data(options: DataOptions, box: Any = None) -> "Dataset":
    """The examples.

    Args:
        box: what bytes are spread over; that of the options if left out.

    Raises:
        InputError: if none are named, or they cannot be read.
    """
    from hauberk.data import load_data

    return load_data(*_asked(options, box), **vars(reading(options)))


def open_data(options: DataOptions, box: Any = None) -> "OpenDataset":
    """The examples, whose images are read by rows.

    Args:
        box: as of :func:`load_data`.

    Raises:
        InputError: as :func:`load_data` does.
    """
    from hauberk.data import open_data

    return open_data(*_asked(options, box), **vars(reading(options)))


def _asked(options: DataOptions, box: Any) -> tuple[str, str | None, int | None, int, Any]:
    if not options.data:
        raise InputError(NO_DATA)
    if box is None:
        box = options.box if isinstance(options, BoxOption) else (0.0, 1.0)
    return options.data, options.data_dir, options.limit, options.offset, box


def reading(options: DataOptions) -> "Reading":
    """How the examples are to be read.

    Raises:
        InputError: for a size or a layout that is none, or a sample of none.
    """
    from hauberk.data.reading import Reading

    return Reading(**{f.name: getattr(options, f.name) for f in fields(Reading)})


def as_recorded(options: D, manifest: Mapping[str, Any]) -> D:
    """The options, reading data as the run of a manifest did where they do not say how."""
    from hauberk.data.reading import PLAIN, Reading

    if reading(options) != PLAIN:
        return options
    known = {f.name for f in fields(Reading)}
    how = manifest.get("reading") or {}
    return replace(options, **{name: value for name, value in how.items() if name in known})


def threat_of(texts: Sequence[str]) -> "Threat":
    """The one threat that is written, or the union of several.

    Raises:
        InputError: if there are none, or one is not a threat.
    """
    from hauberk.threats import threat

    if not texts:
        raise InputError("no threat: give at least one, e.g. --threat linf:8/255 --threat l2:0.5")
    return threat("|".join(texts)).of_network(network)


def network(text: str) -> "nn.Module":
    """A network by what ``--model`` takes, and after a comma a file of weights.

    Raises:
        InputError: if it cannot be loaded.
    """
    from hauberk.models.loading import load_model

    model, _, weights = text.partition(",")
    return load_model(model, weights or None).eval()


def recorded(
    named: NamedModel | Sequence[NamedModel],
    options: DataOptions,
    data: "OpenDataset | Dataset | None" = None,
    loaded: Iterable[Any] = (),
) -> dict[str, Any]:
    """What a manifest says of the options and the data; lists where there may be several models.

    Args:
        loaded: the models in the same order, whose normalisation is recorded.
    """
    models = [named] if isinstance(named, NamedModel) else named
    by = [getattr(model, "by", None) for model in loaded][: len(models)]
    facts: dict[str, list[Any]] = {}
    if any(by) or any(model.mean for model in models):
        facts = {name: [one and list(getattr(one, name)) for one in by] for name in ("mean", "std")}
    facts |= {
        "model": [model.spec for model in models],
        "weights": [model.weights for model in models],
        "weights_sha256": [_sha256(model.weights) for model in models],
    }
    how = [model._asdict() for model in models[:1]]
    loading = {
        name: list(given[name]) if name == "ignore_keys" else given[name]
        for given in how
        for name in ("ignore_keys", "dtype", "download")
        if given[name]
    }
    one = isinstance(named, NamedModel)
    return {
        **({name: values[0] for name, values in facts.items()} if one else facts),
        **loading,
        "data": options.data,
        "limit": options.limit,
        "offset": options.offset,
        **({"reading": asked} if (asked := reading(options).facts()) else {}),
        **(
            {} if data is None or data.class_names is None else {"class_names": [*data.class_names]}
        ),
        "command": ["hauberk", *options.argv],
    }


def _sha256(weights: str | None) -> str | None:
    from hauberk.models.files import path_and_key

    if not weights:
        return None
    return hashlib.sha256(path_and_key(weights)[0].read_bytes()).hexdigest()
