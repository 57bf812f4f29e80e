"""How robust is a PyTorch classifier against many kinds of perturbation at once?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hauberk.__about__ import __version__ as __version__
from hauberk.errors import HauberkWarning as HauberkWarning
from hauberk.errors import InputError as InputError

if TYPE_CHECKING:  # what HOMES says, for type checkers; a test compares them
    # isort: off
    from hauberk import (
        analysis as analysis,
        attacks as attacks,
        data as data,
        engine as engine,
        evaluation as evaluation,
        exact as exact,
        maths as maths,
        models as models,
        objectives as objectives,
        solvers as solvers,
        threats as threats,
        train as train,
        transforms as transforms,
        victims as victims,
    )
    from hauberk.attacks import Attack as Attack
    from hauberk.engine.outcome import Outcome as Outcome
    from hauberk.evaluation.accuracy.evaluate import evaluate as evaluate
    from hauberk.evaluation.accuracy.result import Result as Result
    from hauberk.evaluation.core.verify import verify as verify
    from hauberk.evaluation.export import export as export
    from hauberk.evaluation.load import load as load
    from hauberk.evaluation.merge import merge as merge
    from hauberk.evaluation.minmax.minmax import minmax as minmax
    from hauberk.evaluation.minmax.result import MinMaxResult as MinMaxResult
    from hauberk.evaluation.radii.radius import radius as radius
    from hauberk.evaluation.radii.result import Radii as Radii, RadiiSet as RadiiSet
    from hauberk.evaluation.transfer import (
        TransferReport as TransferReport,
        TransferReports as TransferReports,
        transfer as transfer,
    )
    from hauberk.evaluation.universal.result import Universal as Universal
    from hauberk.evaluation.universal.universal import universal as universal
    from hauberk.objectives.minmax import (
        Average as Average,
        Domain as Domain,
        Fixed as Fixed,
        MinMax as MinMax,
    )
    from hauberk.threats import (
        L0 as L0,
        L1 as L1,
        L2 as L2,
        Affine as Affine,
        Box as Box,
        Each as Each,
        FiniteSet as FiniteSet,
        Linf as Linf,
        Lp as Lp,
        Measured as Measured,
        Metric as Metric,
        Perceptual as Perceptual,
        RotationTranslation as RotationTranslation,
        Shared as Shared,
        Threat as Threat,
        Union as Union,
        threat as threat,
    )
    from hauberk.victims.fast_copy import SearchOn as SearchOn


HOMES = {
    "": (
        "analysis attacks data engine evaluation exact maths models objectives solvers threats "
        "train transforms victims"
    ),
    "attacks": "Attack",
    "engine.outcome": "Outcome",
    "evaluation.accuracy.evaluate": "evaluate",
    "evaluation.accuracy.result": "Result",
    "evaluation.core.verify": "verify",
    "evaluation.export": "export",
    "evaluation.load": "load",
    "evaluation.merge": "merge",
    "evaluation.minmax.minmax": "minmax",
    "evaluation.minmax.result": "MinMaxResult",
    "evaluation.radii.radius": "radius",
    "evaluation.radii.result": "Radii RadiiSet",
    "evaluation.transfer": "TransferReport TransferReports transfer",
    "evaluation.universal.result": "Universal",
    "evaluation.universal.universal": "universal",
    "objectives.minmax": "Average Domain Fixed MinMax",
    "threats": (
        "Affine Box Each FiniteSet L0 L1 L2 Linf Lp Measured Metric Perceptual "
        "RotationTranslation Shared Threat Union threat"
    ),
    "victims.fast_copy": "SearchOn",
}
"""Public names by module, each loaded when it is first used: ``import hauberk`` stays cheap."""

_HOME = {name: home for home, names in HOMES.items() for name in names.split()}

__all__ = sorted({"HauberkWarning", "InputError", "__version__", *_HOME})


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hauberk' has no attribute '{name}'")
    home = _HOME[name]
    if not home:
        return import_module(f"hauberk.{name}")
    return getattr(import_module(f"hauberk.{home}"), name)


def __dir__() -> list[str]:
    return __all__
