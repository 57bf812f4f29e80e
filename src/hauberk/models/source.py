"""What a model source is: from the text of `--model` to a module, and what its makers say of it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from hauberk.errors import InputError
from hauberk.spec.imports import one_line
from hauberk.spec.numbers import as_number


@dataclass(frozen=True)
class ModelRequest:
    """What the user asks for.

    Args:
        spec: the text of `--model`: `NAME:ARGUMENT`, or a file.
        weighted: whether a file of weights will be loaded into the model.
        download: whether weights may be fetched from where the source keeps them.

    Example:
        >>> request = ModelRequest("timm:resnet18,num_classes=10")
        >>> request.argument, request.settings
        ('resnet18', {'num_classes': 10})
    """

    spec: str
    weighted: bool = False
    download: bool = False

    @property
    def name(self) -> str:
        """The word before the colon."""
        return self.spec.partition(":")[0]

    @property
    def argument(self) -> str:
        """The text after the colon, up to the settings.

        Raises:
            InputError: if there is none.
        """
        argument = self.spec.partition(":")[2].partition(",")[0].strip()
        if not argument:
            raise InputError(f"model {self.spec!r} names nothing: give {self.name}:NAME")
        return argument

    @property
    def settings(self) -> dict[str, Any]:
        """What stands behind it, `,key=value,...`, as numbers, true or false, or text.

        Raises:
            InputError: for anything else.
        """
        found: dict[str, Any] = {}
        for part in filter(None, self.spec.partition(":")[2].split(",")[1:]):
            key, sign, value = (word.strip() for word in part.partition("="))
            if not sign or not key.isidentifier():
                raise InputError(
                    f"model {self.spec!r}: {part!r} is no setting: write key=value, e.g. "
                    f"{self.name}:NAME,num_classes=10"
                )
            words = {"true": True, "false": False, "none": None}
            found[key] = words.get(value.lower(), as_number(value))
        return found


@dataclass(frozen=True)
class FoundModel:
    """A model, and what its source says of it.

    Attributes:
        model: the module.
        configuration: what the source's own files say of its inputs, such as `mean`, `std` and
            `input_size` of timm, or what Hugging Face's `preprocessor_config.json` holds; empty if
            it says nothing.
        rebuild: makes it anew with other `num_classes` or `in_chans`; None if it cannot.
        trained: whether it has trained weights already.
        weights: its own file of weights, for where the user gives none.
    """

    model: nn.Module
    configuration: Mapping[str, Any] = field(default_factory=dict)
    rebuild: Callable[..., nn.Module] | None = None
    trained: bool = False
    weights: str | None = None


@dataclass(frozen=True)
class ModelSource:
    """A kind of model that `--model` can name.

    Args:
        name: the word before the colon.
        usage: how it is written, such as "timm:NAME".
        about: one line for the documentation.
        open: makes the model of a request.
        suffix: ending of the files that it reads, which then need no word before them.

    Example:
        >>> from torch import nn
        >>> source = ModelSource("flat", "flat:N", "A layer.", lambda r: FoundModel(nn.Flatten()))
        >>> source.open(ModelRequest("flat:1")).model
        Flatten(start_dim=1, end_dim=-1)
    """

    name: str
    usage: str
    about: str
    open: Callable[[ModelRequest], FoundModel]
    suffix: str = ""

    def takes(self, spec: str) -> bool:
        """Whether a text of `--model` names a model of this kind.

        Args:
            spec: the text.
        """
        if self.suffix and spec.partition(",")[0].lower().endswith(self.suffix):
            return True
        return spec.startswith(f"{self.name}:")


def required(package: str, spec: str, hint: str = "") -> ModuleType:
    """A package that a source needs.

    Args:
        package: its name.
        spec: the text of `--model`, for error messages.
        hint: how it is installed; `pip install PACKAGE` if left out.

    Raises:
        InputError: if it is not installed, or cannot be imported.
    """
    install = hint or f"pip install {package}"
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == package.partition(".")[0]:
            raise InputError(f"model {spec!r} needs {package}: {install}") from error
        raise InputError(
            f"model {spec!r}: {package} needs {error.name}, which is not installed: "
            f"pip install {(error.name or package).partition('.')[0]}"
        ) from error
    except Exception as error:
        raise InputError(
            f"model {spec!r}: importing {package} failed ({one_line(error)}): install {package} "
            "and torch in versions that go together"
        ) from error


@contextmanager
def made(request: ModelRequest, hint: str = "") -> Iterator[None]:
    """Within the block other people's code makes a model: errors in one line, no code from files.

    Whatever is read with `torch.load` is read with `weights_only=True`.

    Args:
        request: of the model.
        hint: what to do if it fails.

    Raises:
        InputError: for any error.
    """
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    names = (name, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    before = {each: os.environ.pop(each, None) for each in names}
    os.environ[name] = "1"
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        end = f": {hint}" if hint else ""
        raise InputError(f"model {request.spec!r} failed: {one_line(error)}{end}") from error
    finally:
        del os.environ[name]
        os.environ.update({each: value for each, value in before.items() if value is not None})
