"""Distances between the features that a network computes: ``Perceptual``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from math import inf, prod
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.threats.measured import Measured

Features = Callable[[Tensor], Any]


class Perceptual(Measured):
    """All inputs of the box whose features are at most ``eps`` from those of the clean one.

    Every feature map (B, C, ...) is divided by its length across channels at each position, then by
    the root of the number of positions, as in LPIPS but with all channels weighted alike; the
    distance is the lp norm of the difference of all maps together. For p = 2 a layer adds at most 2
    to it. The same scaling serves p = 1 (Liang et al. 2023, equation 8), where a layer can add
    about ``2 sqrt(C H W)``: eps must be chosen for the network.

    A module is held in eval mode with frozen parameters while it computes, and left as it was. The
    judge's distance comes from a float64 copy of it.

    Args:
        features: a module or function from inputs to a tensor of features, or to a list, tuple or
            dict of them; :func:`layers` takes them from inside a model.
        eps: 0.5 in the paper, for p = 2 and AlexNet; inf for the whole box.
        p: 2 or 1.
        name: its name in results.
        batch_size: rows that go through the features at once; chosen by the size of the inputs if
            left out.

    Attributes:
        forwards, backwards: passes through the features so far, one per example.

    Source: Laidlaw, Singla & Feizi 2021 ("Perceptual adversarial robustness").

    Raises:
        InputError: as :class:`Measured` does, and for other p, or features without channels.

    Example:
        >>> threat = Perceptual(nn.Conv2d(1, 4, 3), eps=0.5)
        >>> str(threat)
        'perceptual:0.5'
        >>> threat.distance(torch.zeros(2, 1, 5, 5), torch.zeros(2, 1, 5, 5))
        tensor([0., 0.], dtype=torch.float64)
    """

    def __init__(
        self,
        features: Features,
        eps: float = inf,
        p: int = 2,
        name: str = "perceptual",
        batch_size: int | None = None,
    ) -> None:
        if p not in (1, 2):
            raise InputError(f"p is {p}: choose 1 or 2")
        super().__init__(features, eps, name, batch_size)  # type: ignore[arg-type]
        self.features, self.p = features, p
        self.follows = False
        """Whether the features, a module, are moved to the device of the inputs."""
        self._passes = {"forwards": 0, "backwards": 0}
        self._double: dict[str, Any] = {}

    @property
    def forwards(self) -> int:
        return self._passes["forwards"]

    @property
    def backwards(self) -> int:
        return self._passes["backwards"]

    @property
    def smooth(self) -> "Perceptual":
        other = copy(self)
        other.p = 2
        return other

    @property
    def precise(self) -> bool:
        return self._in_double() is not self.features or super().precise

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, Perceptual) and self.p == other.p

    def __hash__(self) -> int:
        return super().__hash__()

    def reference(self, x0: Tensor) -> Tensor:
        return self._embed(self.features, x0)

    def between(self, x0: Tensor, reference: Tensor | None, x: Tensor) -> Tensor:
        there = self.reference(x0) if reference is None else reference
        return self._count_back(norm(self._embed(self.features, x) - there, self.p)).to(x.dtype)

    def probe(self, x0: Tensor, x: Tensor) -> Tensor:
        with _held(self.features):
            return _flat(self.features(x), len(x))

    def exact(self, x0: Tensor, x: Tensor) -> Tensor:
        network = self._in_double()
        there, here = (self._embed(network, z.double()) for z in (x0, x))
        return norm(here.double() - there.double(), self.p)

    def _embed(self, features: Features, x: Tensor) -> Tensor:
        """All features of inputs (S, ...), normalised, ``(S, D)``."""
        self._passes["forwards"] += len(x)
        if self.follows and isinstance(features, nn.Module):
            features.to(x.device)
        if features is self.features and self.dtypes and x.dtype not in self.dtypes:
            x = x.to(self.dtypes[0])
        with _held(features):
            # A network that overwrites its input gets one of its own.
            return _flat(features(x.clone()), len(x))

    def _count_back(self, found: Tensor) -> Tensor:
        if found.requires_grad:
            rows = len(found)  # the hook must not hold the tensor that holds the hook

            def count(_: Tensor) -> None:
                self._passes["backwards"] += rows

            found.register_hook(count)
        return found

    def _in_double(self) -> Features:
        """The features in float64: a copy of a module, up to date with it; else the same."""
        if not isinstance(self.features, nn.Module):
            return self.features
        tensors = [*self.features.parameters(), *self.features.buffers()]
        if all(t.dtype == torch.float64 for t in tensors if t.is_floating_point()):
            return self.features
        stamp = [(id(t), t._version, t.device) for t in tensors]
        if self._double.get("stamp") != stamp:
            try:
                network: Features = deepcopy(self.features).double().eval()
            except (RuntimeError, TypeError):  # no copy to be had, or no float64 on the device
                network = self.features
            self._double.update(stamp=stamp, network=network)
        kept: Features = self._double["network"]
        return kept


def layers(model: nn.Module, names: Sequence[str]) -> nn.Module:
    """The outputs of a model's submodules as features, ``(B, ...) -> list of (B, C, ...)``.

    With the layers of the attacked classifier, the threat is what Laidlaw et al. 2021 call
    self-bounded.

    Args:
        model: the network.
        names: of its submodules, as in ``model.named_modules()``.

    Raises:
        InputError: if there is no such submodule, or a pass does not go through it.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
        >>> [tuple(m.shape) for m in layers(model, ["0", "1"])(torch.zeros(2, 1, 5, 5))]
        [(2, 4, 3, 3), (2, 4, 3, 3)]
    """
    return _Layers(model, names)


class _Layers(nn.Module):
    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        there = [name for name, _ in model.named_modules() if name]
        # Behind a normalisation or torch.compile the layers have a longer name.
        ends = {name: [full for full in there if full.endswith(f".{name}")] for name in names}
        names = [ends[n][0] if n not in there and len(ends[n]) == 1 else n for n in names]
        unknown = [name for name in names if name not in there]
        if unknown or not names:
            wrong = f"the model has no layer '{unknown[0]}'" if unknown else "no layer is named"
            raise InputError(f"{wrong}: choose some of {', '.join(there)}")
        self.model, self.names = model, list(names)
        self.training = model.training

    def forward(self, x: Tensor) -> list[Tensor]:
        found: dict[str, Tensor] = {}
        handles = []
        try:
            for name in self.names:

                def keep(_: nn.Module, __: Any, out: Any, name: str = name) -> None:
                    # A later operation may overwrite it (an in-place ReLU): that is no longer it.
                    found.setdefault(name, out.clone() if isinstance(out, Tensor) else out)

                handles.append(self.model.get_submodule(name).register_forward_hook(keep))
            self.model(x)
        finally:
            for handle in handles:
                handle.remove()
        missing = [name for name in self.names if name not in found]
        if missing:
            raise InputError(f"a pass does not go through layer '{missing[0]}': choose another")
        return [found[name] for name in self.names]


@contextmanager
def _held(features: Features) -> Iterator[None]:
    """Eval mode and frozen parameters inside the block, for a module; then as it was."""
    modules = list(features.modules()) if isinstance(features, nn.Module) else []
    training = [m for m in modules if m.training]
    frozen = [p for m in modules[:1] for p in m.parameters() if p.requires_grad]
    try:
        for m in training:
            m.training = False
        for p in frozen:
            p.requires_grad_(False)
        yield
    finally:
        for m in training:
            m.training = True
        for p in frozen:
            p.requires_grad_(True)


def _flat(found: Any, rows: int) -> Tensor:
    """Feature maps (S, C, ...), each normalised, side by side: ``(S, D)``."""
    if isinstance(found, Mapping):
        found = list(found.values())
    maps = [found] if isinstance(found, Tensor) else list(found)
    for m in maps:
        if not isinstance(m, Tensor) or m.dim() < 2 or len(m) != rows:
            shape = tuple(m.shape) if isinstance(m, Tensor) else type(m).__name__
            raise InputError(
                f"a feature map is {shape} for {rows} inputs: features must return tensors "
                "(B, C, ...), or a list, tuple or dict of them"
            )
    if not maps:
        raise InputError("features returned no map: return at least one tensor (B, C, ...)")
    parts = []
    for m in maps:
        unit = m / (torch.linalg.vector_norm(m, dim=1, keepdim=True) + 1e-10)
        parts.append(unit.flatten(1) / max(1, prod(m.shape[2:])) ** 0.5)
    return torch.cat(parts, 1)
