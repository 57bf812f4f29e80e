"""What a data source is: from the text of `--data` to arrays that are not yet converted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hauberk.data.dataset import Array
from hauberk.data.on_disk import ArrayOnDisk
from hauberk.data.reading import PLAIN, Reading
from hauberk.errors import InputError

SPLITS = ("train", "test")


@dataclass(frozen=True)
class DataSource:
    """A kind of data that `--data NAME:ARGUMENT` can name.

    Args:
        name: the word before the colon.
        usage: how it is written, such as "mnist:train|test".
        about: one line for the documentation.
        open: finds the data of a request.

    Example:
        >>> import numpy as np
        >>> def grey(request):
        ...     return in_memory(np.full((4, 1), 0.5), np.arange(4), request.spec)
        >>> DataSource("grey", "grey:all", "Four grey pixels.", grey).open(Request("grey:all")).size
        4
    """

    name: str
    usage: str
    about: str
    open: Callable[["Request"], "RawData"]


@dataclass(frozen=True)
class RawData:
    """A data set not yet converted to tensors.

    Args:
        size: number of examples.
        read: `read(start, stop)` gives the images and labels of that window.
        classes: number of classes, or None if not known.
        labels: `labels(start, stop)` gives the labels alone, where that takes no images.
        names: of the classes that the labels 0, 1, ... stand for, if they have any.
        unit: whether its floats are known to be images in [0, 1], as bytes are 0 to 255.
        fitted: whether `read` has made layout, colour and size of the images as asked.
    """

    size: int
    read: Callable[[int, int], tuple[Array, Array]]
    classes: int | None = None
    labels: Callable[[int, int], Array] | None = None
    names: tuple[str, ...] | None = None
    unit: bool = False
    fitted: bool = False


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Args:
        spec: the text of `--data`, `NAME:ARGUMENT`.
        data_dir: the folder that holds the files, if one was given.
        reading: how images are made alike, and what classes mean.
        start: the first example that is needed.
        stop: the one after the last that is needed; None for all.

    Example:
        >>> Request("mnist:test").split
        'test'
    """

    spec: str
    data_dir: str | Path | None = None
    reading: Reading = PLAIN
    start: int = 0
    stop: int | None = None

    @property
    def name(self) -> str:
        """The word before the colon."""
        return self.spec.partition(":")[0]

    @property
    def argument(self) -> str:
        """The text after the colon."""
        return self.spec.partition(":")[2]

    @property
    def split(self) -> str:
        """The argument, "train" or "test"; `InputError` for any other."""
        if self.argument not in SPLITS:
            asked = f"no split {self.argument!r}" if self.argument else "no split given"
            raise InputError(f"{self.spec}: {asked}: write {self.name}:train or {self.name}:test")
        return self.argument

    @property
    def folder(self) -> Path:
        """`data_dir`; `InputError` if there is none."""
        if self.data_dir is None:
            raise InputError(
                f"{self.spec} needs data_dir (--data-dir), the folder that holds its files"
            )
        folder = Path(self.data_dir).expanduser()
        if not folder.is_dir():
            raise InputError(
                f"data_dir {str(self.data_dir)!r} is not a folder: give the one for {self.spec}"
            )
        return folder

    @property
    def located(self) -> tuple[Path, tuple[str, ...]]:
        """The path that the argument begins with, and the words behind it, between colons.

        Raises:
            InputError: if there is no such path, here or in `data_dir`.
        """
        parts = self.argument.split(":")
        for many in range(len(parts), 0, -1):
            asked = replace(self, spec=f"{self.name}:{':'.join(parts[:many])}")
            places = [Path(asked.argument).expanduser()]
            places += (
                [] if self.data_dir is None else [Path(self.data_dir).expanduser() / places[0]]
            )
            if asked.argument and any(place.exists() for place in places):
                return asked.path, tuple(parts[many:])
        return replace(self, spec=f"{self.name}:{parts[0]}").path, tuple(parts[1:])

    @property
    def path(self) -> Path:
        """The argument as a path, here or in `data_dir`; `InputError` if it does not exist."""
        if not self.argument:
            raise InputError(f"{self.spec!r} names nothing: write npz:FILE or folder:DIR")
        path = Path(self.argument).expanduser()
        if path.exists():
            return path
        if self.data_dir is None:
            raise InputError(
                f"{self.spec}: {self.argument} does not exist: give its path, or data_dir "
                "(--data-dir)"
            )
        inside = self.folder / path
        if not inside.exists():
            raise InputError(f"{self.spec}: {self.argument} is neither here nor in {self.data_dir}")
        return inside


def in_memory(
    images: Array | ArrayOnDisk, labels: Array, spec: str, classes: int | None = None,
    names: tuple[str, ...] | None = None,
) -> RawData:  # fmt: skip
    """Arrays in memory, mapped into it, or read from a file by rows, as a data set.

    Args:
        images: (N, ...), floats or uint8.
        labels: (N,), integers, or whatever else `to_labels` takes.
        spec: the name of the data set, for error messages.
        classes: number of classes, or None if not known.
        names: of the classes 0, 1, ..., if they have any.

    Raises:
        InputError: unless there is one label an image.

    Example:
        >>> import numpy as np
        >>> in_memory(np.zeros((5, 2)), np.arange(5), "mine").read(1, 3)[1]
        array([1, 2])
    """
    if images.ndim < 1 or labels.ndim < 1:
        raise InputError(
            f"{spec}: labels of shape {tuple(labels.shape)} for images of shape "
            f"{tuple(images.shape)}: give images (N, ...) and labels (N,)"
        )
    if len(images) != len(labels):
        raise InputError(
            f"{spec}: {len(images)} images but {len(labels)} labels: "
            "they must be of equal length; fetch or make the files again"
        )
    return RawData(
        len(labels), lambda a, b: (images[a:b], labels[a:b]), classes,
        lambda a, b: labels[a:b], names,
    )  # fmt: skip
