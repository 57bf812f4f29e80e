"""Perceptual threats as text: layers by name, bound to a network when the model is known."""

import re
from collections.abc import Callable, Sequence
from math import inf
from typing import NoReturn, Optional

from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.spec.numbers import number
from hauberk.threats.base import Threat
from hauberk.threats.perceptual import Perceptual, layers

_WRITTEN = re.compile(r"perceptual(-l1)?\(([^@]*)(?:@(.*))?\)(?::([^:)]*))?", re.IGNORECASE)


class NamedLayers(Perceptual):
    """A perceptual threat whose features are layers by name: ``perceptual(conv1+conv2):0.5``.

    The layers are those of the model under attack (what Laidlaw et al. 2021 call self-bounded), or
    with ``@`` those of another network. Until it is bound to a network, by :meth:`of_model` or
    :meth:`of_network`, it measures nothing: runs, trainings and commands do that.

    Args:
        names: of the layers, as in ``model.named_modules()``.
        eps: size; inf for the whole box.
        p: 2 (equation 7), or 1 (equation 8).
        network: what ``--model`` takes, and after a comma a file of weights; None for the model
            under attack.

    Source: Liang et al. 2023, equations 7 and 8.

    Raises:
        InputError: as :class:`Perceptual` does, and without a name.

    Example:
        >>> threat = NamedLayers(["0", "2"], 0.5)
        >>> str(threat)
        'perceptual(0+2):0.5'
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
        >>> bound = threat.of_model(model)
        >>> str(bound), type(bound).__name__
        ('perceptual(0+2):0.5', 'Perceptual')
    """

    kinds = "perceptual(-l1)?"
    grammar = (
        "perceptual(LAYER+LAYER):EPS or perceptual-l1(...):EPS for the features of layers, of "
        "another network with LAYERS@MODEL or LAYERS@MODEL,WEIGHTS"
    )
    cased = True

    def __init__(
        self, names: Sequence[str], eps: float = inf, p: int = 2, network: str | None = None
    ) -> None:
        if not names or not all(names):
            raise InputError("no layer is named: write e.g. perceptual(conv1+conv2):0.5")
        inside = "+".join(names) + (f"@{network}" if network else "")
        super().__init__(self._none, eps, p, f"perceptual{'-l1' if p == 1 else ''}({inside})")
        self.names, self.network = tuple(names), network

    @classmethod
    def read(cls, text: str, part: Callable[[str], Threat]) -> Optional["NamedLayers"]:
        found = _WRITTEN.fullmatch(text)
        if found is None:
            return None
        plain, names, network, size = found.groups()
        eps = inf if size == "inf" else number(size or "")
        if eps is None:
            raise InputError(f"{text} has no size: write e.g. {text.partition(':')[0]}:0.5")
        return cls(names.split("+"), eps, 1 if plain else 2, network)

    def of_model(self, model: nn.Module | None) -> Perceptual:
        """The threat with the layers of the model under attack.

        Raises:
            InputError: for layers that it has not, for several models, and for layers of another
                network, which :meth:`of_network` binds.
        """
        if self.network is not None:
            raise InputError(
                f"{self} names a network of its own, which commands load: in Python bind it first, "
                "threat.of_network(load)"
            )
        if model is None:
            raise InputError(
                f"{self} names layers of the model under attack, but there are several: name the "
                "network, perceptual(LAYERS@MODEL):EPS"
            )
        return self._of(model)

    def of_network(self, load: Callable[[str], nn.Module]) -> Perceptual:
        """The threat with the layers of the network that it names; itself if it names none.

        Raises:
            InputError: for layers that the network has not.
        """
        if self.network is None:
            return self
        bound = self._of(load(self.network))
        bound.follows = True
        return bound

    def _of(self, network: nn.Module) -> Perceptual:
        try:
            found = layers(network, self.names)
        except InputError as error:
            raise InputError(f"{self}: {error}") from error
        return Perceptual(found, self.eps, self.p, self.name, self.batch_size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedLayers) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def _none(self, x: Tensor) -> NoReturn:
        raise InputError(
            f"{self} is not bound to a network yet: runs and trainings do that, elsewhere "
            "threat.of_model(model) does"
        )
