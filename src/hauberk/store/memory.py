"""Where a run's parts go when no folder was asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor


class Memory:
    """A ledger that forgets: the methods of ``Ledger`` that the evaluator uses."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.manifest = dict(manifest)
        self._parts: dict[str, tuple[dict[str, np.ndarray], dict[str, Tensor]]] = {}

    def has(self, key: str) -> bool:
        return key in self._parts

    def write(
        self, key: str, rows: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> None:
        columns = {name: np.asarray(values) for name, values in rows.items()}
        self._parts[key] = (columns, dict(tensors or {}))

    def part(self, key: str) -> dict[str, np.ndarray]:
        return self._parts[key][0]

    def tensors(self, key: str) -> dict[str, Tensor]:
        return self._parts[key][1]

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self._parts if key.startswith(prefix))

    def rows(self, prefix: str) -> dict[str, np.ndarray]:
        parts = [self._parts[key][0] for key in self.keys(prefix)]
        return (
            {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} if parts else {}
        )

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        del summary
