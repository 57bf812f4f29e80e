"""How robust is a PyTorch classifier against many kinds of perturbation at once?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hauberk.__about__ import __version__
from hauberk.errors import HauberkWarning, InputError

if TYPE_CHECKING:
    from hauberk import attacks, bridges, data, models
    from hauberk.attacks import Attack
    from hauberk.engine.outcome import Outcome
    from hauberk.evaluation.evaluate import evaluate
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
        RotationTranslation,
        Threat,
        Union,
        threat,
    )

# Names are looked up when they are first used, so that `import hauberk` stays cheap.
_HOME = {
    **dict.fromkeys(["L0", "L1", "L2", "Linf", "Lp", "Union", "threat", "Threat"], "threats"),
    **dict.fromkeys(["Affine", "Box", "FiniteSet", "RotationTranslation"], "threats"),
    **dict.fromkeys(["evaluate", "verify", "Result"], "evaluation"),
    "Attack": "attacks",
    "Outcome": "engine.outcome",
}
_MODULES = ["attacks", "bridges", "data", "engine", "evaluation", "models", "maths", "threats"]

__all__ = [
    "L0", "L1", "L2", "Affine", "Attack", "Box", "FiniteSet", "HauberkWarning", "InputError",
    "Linf", "Lp", "Outcome", "Result", "RotationTranslation", "Threat", "Union", "__version__",
    "attacks", "bridges", "data", "evaluate", "models", "threat", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"hauberk.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"hauberk.{name}")
    raise AttributeError(f"module 'hauberk' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
