"""Many models of one search: what share of them passes a threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hauberk.errors import InputError
from hauberk.store.files import plain


@dataclass(frozen=True)
class SweptModel:
    """One model of a search, and what it keeps.

    Attributes:
        group: what it is compared within, such as its strategy.
        settings: those that were varied.
        accuracy: shares in [0, 1] by name: ``clean``, ``union``, each threat, ...
        n: examples that they are of.

    Example:
        >>> SweptModel("msd", {"step": 0.1}, {"union": 0.5}, 100).to_dict()["accuracy"]
        {'union': 0.5}
    """

    group: str
    settings: Mapping[str, Any]
    accuracy: Mapping[str, float]
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(plain(vars(self)))


@dataclass(frozen=True)
class Sweep:
    """The models of a search.

    Attributes:
        models: in the order in which they were made.

    Example:
        >>> models = [SweptModel("msd", {}, {"union": a}, 100) for a in (0.2, 0.5, 0.6, 0.7)]
        >>> Sweep(models).above([0.1, 0.5], "union")
        {'msd': [1.0, 0.5]}
    """

    models: Sequence[SweptModel] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        """Their groups, in order."""
        return list(dict.fromkeys(model.group for model in self.models))

    def accuracies(self, of: str) -> dict[str, list[float]]:
        """One kind of accuracy of all models, by group.

        Raises:
            InputError: if a model has none of that name.
        """
        for model in self.models:
            if of not in model.accuracy:
                known = ", ".join(model.accuracy)
                raise InputError(f"no accuracy '{of}' of {model.group}: there are {known}")
        return {
            group: [model.accuracy[of] for model in self.models if model.group == group]
            for group in self.groups
        }

    def above(self, thresholds: Sequence[float], of: str = "union") -> dict[str, list[float]]:
        """Share of the models of each group whose accuracy exceeds each threshold.

        Args:
            thresholds: shares in [0, 1].
            of: the name of the accuracy.

        Source: Maini et al. 2020, Figure 4.
        """
        found = self.accuracies(of)
        return {
            group: [sum(a > t for a in values) / len(values) for t in thresholds]
            for group, values in found.items()
        }

    def best(self, of: str = "union") -> dict[str, SweptModel]:
        """The model of the largest accuracy in each group; the first of equals."""
        self.accuracies(of)
        ordered = sorted(self.models, key=lambda model: -model.accuracy[of])
        return {g: next(t for t in ordered if t.group == g) for g in self.groups}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`of` reads them back."""
        return {"models": [model.to_dict() for model in self.models]}

    @classmethod
    def of(cls, *given: Mapping[str, Any]) -> "Sweep":
        """The models of one or several searches, from the ``summary.json`` of ``hauberk sweep``."""
        return cls([SweptModel(**model) for one in given for model in one["models"]])
