"""How robust is a PyTorch classifier against many kinds of perturbation at once?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hauberk.__about__ import __version__
from hauberk.errors import HauberkWarning, InputError

if TYPE_CHECKING:
    from hauberk import attacks, bridges, data, explain, models
    from hauberk.attacks import Attack
    from hauberk.engine.outcome import Outcome
    from hauberk.evaluation.evaluate import evaluate
    from hauberk.evaluation.radii import radius
    from hauberk.evaluation.radii_result import Radii, RadiiSet
    from hauberk.evaluation.result import Result
    from hauberk.evaluation.verify import verify
    from hauberk.threats import (
        L0,
        L1,
        L2,
        Affine,
        Box,
        FiniteSet,
        Linf,
        Lp,
        Measured,
        Metric,
        Perceptual,
        RotationTranslation,
        Threat,
        Union,
        threat,
    )

# Names are looked up when they are first used, so that `import hauberk` stays cheap.
_HOME = {
    **dict.fromkeys(["L0", "L1", "L2", "Linf", "Lp", "Union", "threat", "Threat"], "threats"),
    **dict.fromkeys(["Affine", "Box", "FiniteSet", "RotationTranslation"], "threats"),
    **dict.fromkeys(["Measured", "Metric", "Perceptual"], "threats"),
    **dict.fromkeys(["evaluate", "verify", "Result"], "evaluation"),
    **dict.fromkeys(["Radii", "RadiiSet"], "evaluation.radii_result"),
    "Attack": "attacks",
    "Outcome": "engine.outcome",
}
_MODULES = [
    "attacks", "bridges", "data", "engine", "evaluation", "explain", "models", "maths", "radius",
    "threats",
]  # fmt: skip

__all__ = [
    "L0", "L1", "L2", "Affine", "Attack", "Box", "FiniteSet", "HauberkWarning", "InputError",
    "Linf", "Lp", "Measured", "Metric", "Outcome", "Perceptual", "Radii", "RadiiSet", "Result",
    "RotationTranslation", "Threat", "Union", "__version__", "attacks", "bridges", "data",
    "evaluate", "explain", "models", "radius", "threat", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"hauberk.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"hauberk.{name}")
    raise AttributeError(f"module 'hauberk' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
