"""What every threat is, and the union of several."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, ClassVar, NoReturn, Optional

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.threats.box import Box as Box
from hauberk.threats.box import narrowed
from hauberk.threats.region import Region as Region
from hauberk.threats.region import as_floats


class Trait(Enum):
    """What suites, evidence and training strategies may ask of a threat.

    A suite names them by their values, beside kinds: ``threats: [ball]``.

    Example:
        >>> from hauberk import L1, RotationTranslation
        >>> sorted(trait.value for trait in L1(10).traits)
        ['ball', 'sparse']
        >>> Trait.RUGGED in RotationTranslation().traits
        True
    """

    BALL = "ball"
    """An lp ball."""
    DISTANCE = "distance"
    """A distance without a size: what radii are measured in."""
    BOX = "box"
    """An lp ball or distance with p = inf: its balls are boxes."""
    SPARSE = "sparse"
    """p = 1: the steepest step moves few features."""
    DISCRETE = "discrete"
    """p = 0: the size counts features."""
    EVALUATED = "evaluated"
    """Given by a distance that can only be evaluated, point by point."""
    ENUMERABLE = "enumerable"
    """All of its points, or a grid over them, can be tried."""
    RUGGED = "rugged"
    """The loss has many maxima in it, whatever the model."""
    MIXTURE = "mixture"
    """Part of one threat, then part of another."""
    SEVERAL = "several"
    """One point stands for several inputs."""


class Threat(ABC):
    """A set of inputs an adversary may turn a clean input into.

    A new one says what its kinds are and how they are read, and binds itself to inputs:

    Example:
        >>> from hauberk import Linf, threat
        >>> threat("linf:8/255").kind
        'linf'
        >>> Linf(0.3).contains(torch.zeros(1, 2), torch.tensor([[0.2, 0.4]]))
        tensor([False])
    """

    kinds: ClassVar[str] = ""
    """A regular expression of its kinds (:attr:`kind`); empty if a suite cannot name it."""
    grammar: ClassVar[str] = ""
    """How its notation is written, for messages and help; empty if it has none."""
    cased: ClassVar[bool] = False
    """Whether :meth:`read` needs capitals as they were written."""
    grouped = False
    """Whether it is a threat to groups of inputs: ``x0`` is (S, M, ...), labels (S, M)."""

    @classmethod
    def read(cls, text: str, part: Callable[[str], "Threat"]) -> Optional["Threat"]:
        """The threat that a notation stands for; None if the notation is another class's.

        Args:
            text: without spaces, and in lower case unless :attr:`cased`.
            part: reads the notation of another threat inside this one's.
        """
        return None

    @staticmethod
    def of(given: "Threat | str") -> "Threat":
        """A threat as it is, or from its notation: what everything that takes a threat does first.

        Raises:
            InputError: for text that is no threat, with the grammar, and for anything else.

        Example:
            >>> str(Threat.of("linf:8/255 | L2: 0.5"))
            'linf:8/255 | l2:0.5'
        """
        if isinstance(given, Threat):
            return given
        if not isinstance(given, str):
            raise InputError(
                f"the threat is a {type(given).__name__}: give a threat such as hauberk.Linf(0.3), "
                "or its notation, 'linf:0.3'"
            )
        parts = [_read(part) for part in given.split("|")]
        return parts[0] if len(parts) == 1 else Union(*parts)

    @classmethod
    def traits_of(cls, kind: str) -> frozenset[Trait]:
        """The traits of this class's threats of one kind, e.g. ``l1``."""
        return frozenset()

    @property
    def traits(self) -> frozenset[Trait]:
        """What suites, evidence and training strategies may rely on."""
        return self.traits_of(self.kind)

    @property
    def variants(self) -> int:
        """Ways to bind the threat to an input, each tried by every attack (Region.at_variant)."""
        return 1

    @property
    def copies(self) -> int:
        """How many times an input's memory it takes to check whether a point belongs to it."""
        return 1

    @property
    def kind(self) -> str:
        """What suites call threats of this sort, e.g. ``linf``."""
        return kind_of(str(self))

    @abstractmethod
    def at(self, x0: Tensor, box: Box = Box()) -> Region:
        """This threat around the clean inputs ``x0`` (S, ...)."""

    @abstractmethod
    def scaled(self, factor: float) -> "Threat":
        """The same kind of threat, ``factor`` times as large."""

    @abstractmethod
    def __str__(self) -> str:
        """The threat's notation, e.g. ``linf:8/255``; :func:`hauberk.threat` reads it back."""

    def __repr__(self) -> str:
        return f"threat({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Threat) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __or__(self, other: "Threat | str") -> "Threat":
        return Union(self, other)

    def __ror__(self, other: str) -> "Threat":
        return Union(other, self)

    @property
    def parts(self) -> tuple["Threat", ...]:
        """The threats that a union is made of; the threat itself otherwise."""
        return (self,)

    def take(self, index: Tensor) -> "Threat":
        """The threat to the examples ``index`` (N,) int64 of those that it is for.

        Itself, unless it differs from example to example (a mask for each, say).
        """
        return self

    def of_model(self, model: nn.Module | None) -> "Threat":
        """The threat for the model under attack; itself, unless it names layers of that.

        Args:
            model: under attack; None where there are several.
        """
        return self

    def of_network(self, load: Callable[[str], nn.Module]) -> "Threat":
        """The threat with the network that it names; itself, unless it names one.

        Args:
            load: from what ``--model`` takes, and after a comma a file of weights, to a network.
        """
        return self

    def project(self, x0: Tensor, x: Tensor, box: Box | Sequence[Any] = (0.0, 1.0)) -> Tensor:
        """The nearest point to ``x`` that lies strictly inside the threat around ``x0``.

        In the wider of the two dtypes.
        """
        region = self.at(x0, Box.of(box))
        own = x.to(region.x0, copy=True)
        u = region.encode(own)
        near = region.decode(region.finalise(region.project_(own if u is None else u)))
        return narrowed(near, as_floats(x0), torch.promote_types(x0.dtype, x.dtype))

    def distance(self, x0: Tensor, x: Tensor) -> Tensor:
        """Distance from ``x0`` to ``x`` in the threat's unit, ``(B,)``, in float64."""
        return self.at(x0, Box(-torch.inf, torch.inf)).distance(x)

    def contains(
        self,
        x0: Tensor,
        x: Tensor,
        witness: Tensor | None = None,
        box: Box | Sequence[Any] = (0.0, 1.0),
    ) -> Tensor:
        """True where ``x`` lies in the threat around ``x0`` and in the box, ``(B,)`` bool."""
        return self.at(x0, Box.of(box)).contains(x, witness)


def kind_of(notation: str) -> str:
    """The kind of a threat of such a notation.

    Example:
        >>> kind_of("linf:8/255"), kind_of("affine(linf:0.3,l1:10)")
        ('linf', 'affine')
    """
    return notation.partition(":")[0].partition("(")[0].partition(",")[0]


_OPTION = re.compile(r"\s*[a-z]+=")
_BEGINS = re.compile(r"[:;]")


def listed(text: str) -> list[str]:
    """The notations in a list split by commas, some of which may hold commas themselves.

    Example:
        >>> listed("rt:30,3,linf:0.3,0;0.5;1")
        ['rt:30,3', 'linf:0.3', '0;0.5;1']
        >>> listed("linf:0.3,fixed=0;2,l2:1")
        ['linf:0.3,fixed=0;2', 'l2:1']
    """
    parts: list[str] = []
    for piece in text.split(","):
        if parts and (not _BEGINS.search(piece) or _OPTION.match(piece)):
            parts[-1] += "," + piece
        else:
            parts.append(piece)
    return [part.strip() for part in parts]


class Union(Threat):
    """The union of threats; nested unions are flattened, repeated ones refused.

    ``Union(Linf(0.3), L2(2.0), L1(10.0))``, and ``Linf(0.3) | L2(2.0)`` is short for it: an input
    is robust only if none of the threats breaks it. A notation stands for its threat, here and
    wherever a threat goes.

    Source: Tramèr & Boneh 2019, section 2; Maini et al. 2020, section 3.

    Raises:
        InputError: for an empty union or one that names a threat twice.

    Example:
        >>> from hauberk import L2, Linf
        >>> union = Union(Linf(0.3), L2(2.0))
        >>> str(union), union.parts
        ('linf:0.3 | l2:2', (Linf(0.3), L2(2)))
    """

    def __init__(self, *threats: Threat | str) -> None:
        flat = tuple(part for threat in threats for part in Threat.of(threat).parts)
        names = [str(part) for part in flat]
        if not flat:
            raise InputError("a union needs at least one threat, e.g. Union(Linf(0.3), L2(2))")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"threat {twice} is named twice: name each threat once (a FiniteSet takes a name=)"
            )
        self._parts = flat

    @property
    def parts(self) -> tuple[Threat, ...]:
        """The threats that it is made of, unions among them flattened."""
        return self._parts

    def at(self, x0: Tensor, box: Box = Box()) -> NoReturn:
        """Refuses: an attack would silently search one of the threats only."""
        raise InputError(
            f"{self} is a union: a single attack needs one threat; "
            "use hauberk.evaluate for a union, or one of its .parts (MSD alone attacks it whole)"
        )

    def of_model(self, model: nn.Module | None) -> "Union":
        return self._with(part.of_model(model) for part in self._parts)

    def of_network(self, load: Callable[[str], nn.Module]) -> "Union":
        return self._with(part.of_network(load) for part in self._parts)

    def _with(self, parts: Iterable[Threat]) -> "Union":
        made = list(parts)
        same = all(one is other for one, other in zip(made, self._parts, strict=True))
        return self if same else Union(*made)

    def take(self, index: Tensor) -> "Union":
        return self._with(part.take(index) for part in self._parts)

    def scaled(self, factor: float) -> "Union":
        return Union(*(part.scaled(factor) for part in self._parts))

    def project(self, *_: object, **__: object) -> NoReturn:
        raise InputError(f"{self} is a union: project on one of its .parts")

    def contains(
        self,
        x0: Tensor,
        x: Tensor,
        witness: Tensor | None = None,
        box: Box | Sequence[Any] = (0.0, 1.0),
    ) -> Tensor:
        """True where any of the threats contains ``x``."""
        return torch.stack([part.contains(x0, x, witness, box) for part in self._parts]).any(0)

    def __str__(self) -> str:
        return " | ".join(str(part) for part in self._parts)

    def __repr__(self) -> str:
        return f"Union({', '.join(repr(part) for part in self._parts)})"


def several(given: Threat | str | Sequence[Threat | str]) -> tuple[Threat, ...]:
    """A threat, a notation or several of them, as threats; unions stay whole.

    Raises:
        InputError: for none, and for what is no threat.

    Example:
        >>> several("linf:0.3"), several(["linf:0.3", "l2:2"])
        ((Linf(0.3),), (Linf(0.3), L2(2)))
    """
    found = (given,) if isinstance(given, Threat | str) else tuple(given)
    if not found:
        raise InputError("no threat: give at least one, such as hauberk.Linf(0.3) or 'linf:0.3'")
    return tuple(map(Threat.of, found))


def grammar() -> str:
    """How threats are written, in one line: the grammars of all classes that have one.

    Example:
        >>> "linf:EPS" in grammar()
        True
    """
    forms = [cls.grammar for cls in threat_classes() if cls.grammar]
    return "; ".join([*forms, "join several with '|'"])


def threat_classes() -> list[type[Threat]]:
    """All classes of threats with kinds of their own, in the order of their definition."""
    return [cls for cls in _with_below(Threat.__subclasses__()) if "kinds" in vars(cls)]


def compact(text: str) -> str:
    """A notation without spaces, but for those inside the names of files.

    Example:
        >>> compact(" linf: 0.3, mask = my file.npy ")
        'linf:0.3,mask=my file.npy'
    """
    parts = re.split(r"(=[^,|()]*)", re.sub(r"\s*=\s*", "=", text))
    return "".join(p.strip() if p.startswith("=") else re.sub(r"\s+", "", p) for p in parts)


def _with_below(classes: list[type[Threat]]) -> Iterator[type[Threat]]:
    for cls in classes:
        yield cls
        yield from _with_below(cls.__subclasses__())


def _read(text: str) -> Threat:
    text = compact(text)
    for cls in threat_classes():
        found = cls.read(text if cls.cased else text.lower(), _read)
        if found is not None:
            return found
    raise InputError(f"unknown threat '{text}': write {grammar()}")
