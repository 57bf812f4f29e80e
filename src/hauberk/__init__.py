"""How robust is a PyTorch classifier against many kinds of perturbation at once?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hauberk.__about__ import __version__
from hauberk.errors import HauberkWarning, InputError

if TYPE_CHECKING:
    from hauberk import analysis, attacks, data, exact, models, solvers, train, transforms
    from hauberk.attacks import Attack
    from hauberk.engine.outcome import Outcome
    from hauberk.evaluation.accuracy.evaluate import evaluate
    from hauberk.evaluation.accuracy.result import Result
    from hauberk.evaluation.core.verify import verify
    from hauberk.evaluation.minmax.minmax import minmax
    from hauberk.evaluation.minmax.result import MinMaxResult
    from hauberk.evaluation.radii.radius import radius
    from hauberk.evaluation.radii.result import Radii, RadiiSet
    from hauberk.evaluation.universal.universal import Universal, universal
    from hauberk.objectives.minmax import Average, Domain, Fixed, MinMax
    from hauberk.threats import (
        L0,
        L1,
        L2,
        Affine,
        Box,
        Each,
        FiniteSet,
        Linf,
        Lp,
        Measured,
        Metric,
        Perceptual,
        RotationTranslation,
        Shared,
        Threat,
        Union,
        threat,
    )

# Names are looked up when they are first used, so that `import hauberk` stays cheap.
_HOME = {
    **dict.fromkeys(["L0", "L1", "L2", "Linf", "Lp", "Union", "threat", "Threat"], "threats"),
    **dict.fromkeys(["Affine", "Box", "FiniteSet", "RotationTranslation"], "threats"),
    **dict.fromkeys(["Measured", "Metric", "Perceptual", "Each", "Shared"], "threats"),
    **dict.fromkeys(["Average", "Domain", "Fixed", "MinMax"], "objectives.minmax"),
    "evaluate": "evaluation.accuracy.evaluate",
    "Result": "evaluation.accuracy.result",
    "radius": "evaluation.radii.radius",
    **dict.fromkeys(["Radii", "RadiiSet"], "evaluation.radii.result"),
    "minmax": "evaluation.minmax.minmax",
    "MinMaxResult": "evaluation.minmax.result",
    **dict.fromkeys(["Universal", "universal"], "evaluation.universal.universal"),
    "verify": "evaluation.core.verify",
    "Attack": "attacks",
    "Outcome": "engine.outcome",
}
_MODULES = [
    "analysis", "attacks", "data", "engine", "evaluation", "exact", "maths", "models", "objectives",
    "solvers", "threats", "train", "transforms", "victims",
]  # fmt: skip

__all__ = [
    "L0",
    "L1",
    "L2",
    "Affine",
    "Attack",
    "Average",
    "Box",
    "Domain",
    "Each",
    "FiniteSet",
    "Fixed",
    "HauberkWarning",
    "InputError",
    "Linf",
    "Lp",
    "Measured",
    "Metric",
    "MinMax",
    "MinMaxResult",
    "Outcome",
    "Perceptual",
    "Radii",
    "RadiiSet",
    "Result",
    "RotationTranslation",
    "Shared",
    "Threat",
    "Union",
    "Universal",
    "__version__",
    "analysis",
    "attacks",
    "data",
    "evaluate",
    "exact",
    "minmax",
    "models",
    "radius",
    "solvers",
    "threat",
    "train",
    "transforms",
    "universal",
    "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"hauberk.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"hauberk.{name}")
    raise AttributeError(f"module 'hauberk' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
