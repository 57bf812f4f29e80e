"""Can the number be believed? What a run's own rows say about masked gradients and weak attacks.

The signs are those of Athalye, Carlini & Wagner 2018, Carlini et al. 2019 (On evaluating
adversarial robustness) and Tramèr & Boneh 2019, section 4.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hauberk.evaluation.core.findings import Finding
from hauberk.store.files import Columns
from hauberk.store.ledger import places
from hauberk.threats.base import Trait
from hauberk.threats.notation import traits_of


def evidence(clean: Columns, attacks: Columns, manifest: Mapping[str, Any]) -> list[Finding]:
    """What the rows of a run, or of a part of it, speak for; see :class:`Finding`.

    Args:
        clean: columns of the clean parts; uses ``id``, ``correct`` and ``margin``.
        attacks: columns of the attack parts.
        manifest: uses ``schedule`` and ``attacks``, the descriptions of the stages.
    """
    if not len(attacks.get("id", ())) or "zero" not in attacks or "margin" not in clean:
        return []
    found: list[Finding] = []
    for notation in dict.fromkeys(str(row["threat"]) for row in manifest.get("schedule") or ()):
        mine = attacks["attacked"].astype(bool) & (attacks["threat"] == notation)
        rows = {name: np.asarray(column)[mine] for name, column in attacks.items()}
        found += _Threat(notation, clean, rows, manifest.get("attacks") or {}).findings()
    return found


class _Threat:
    """The rows of one threat."""

    def __init__(
        self, notation: str, clean: Columns, rows: Columns, stages: Mapping[str, Any]
    ) -> None:
        self.notation, self.rows, self.stages = notation, rows, stages
        self.n = int(np.asarray(clean["correct"], dtype=bool).sum())
        self.few = max(2, round(0.02 * self.n))
        at = places(clean["id"], rows["id"])
        self.clean_margin = np.asarray(clean["margin"], dtype=float)[at]
        self.names = list(dict.fromkeys(rows["task"].tolist()))
        lost = np.unique(rows["id"][rows["broken"].astype(bool)])
        self.stands = ~np.isin(rows["id"], lost)

    def findings(self) -> list[Finding]:
        # Where the loss has many maxima whatever the model, that another search finds what one by
        # gradients missed says nothing about the gradients.
        smooth = Trait.RUGGED not in traits_of(self.notation)
        checks = (
            *[self.free] * smooth, self.transfer, *[self.softened] * smooth, self.zero, self.huge,
            self.headway, self.unbounded, *[self.restarts] * smooth, self.deep,
        )  # fmt: skip
        return [found for check in checks if (found := check()) is not None]

    def finding(self, code: str, observed: str, remedy: str, masked: bool = True) -> Finding:
        return Finding(code, self.notation, masked, observed, remedy)

    def of(self, name: str) -> Mapping[str, Any]:
        """A stage's description."""
        return self.stages.get(name) or {}

    def kind(self, *kinds: str) -> list[str]:
        """Stages of such kinds, in the order of the run."""
        return [name for name in self.names if self.of(name).get("kind") in kinds]

    def exact(self) -> list[str]:
        """Stages that follow the model's own gradients."""
        return [name for name in self.kind("gradient") if not self.of(name).get("soften")]

    def whole(self, names: list[str]) -> list[str]:
        """Those that were run on all points that stood; what the others left says little."""
        partial = ("carry", "portion", "adaptive")
        return [name for name in names if not any(self.of(name).get(way) for way in partial)]

    def broke(self, name: str, after: list[str]) -> tuple[int, int]:
        """How many points a stage broke that all of the others had left, and tried."""
        ids, broken = self.rows["id"], self.rows["broken"].astype(bool)
        mine = self.rows["task"] == name
        tried = mine.copy()
        for other in after:
            left = ids[(self.rows["task"] == other) & ~broken]
            tried &= np.isin(ids, left)
        return int((tried & broken).sum()), int(tried.sum())

    def before(self, name: str, others: list[str]) -> list[str]:
        return [o for o in others if self.names.index(o) < self.names.index(name)]

    def beaten(
        self, code: str, names: list[str], others: list[str], least: Callable[[int], float],
        observed: str, remedy: str,
    ) -> Finding | None:  # fmt: skip
        """The first stage that broke ``least`` or more of the points that others had left before.

        Args:
            least: of the points that it tried.
            observed: has places for ``name``, ``broke`` and ``tried``.
        """
        for name in names:
            if after := self.before(name, others):
                broke, tried = self.broke(name, after)
                if broke >= least(tried):
                    return self.finding(
                        code, observed.format(name=name, broke=broke, tried=tried), remedy
                    )
        return None

    def free(self) -> Finding | None:
        # A carried one began where another threat's attacks had arrived.
        names = [name for name in self.kind("free") if not self.of(name).get("carry")]
        return self.beaten(
            "gradient-free beats gradients", names, self.whole(self.kind("gradient")),
            lambda tried: self.few,
            "{name}, which uses no gradients, broke {broke} of {tried} points that attacks by "
            "gradients had left",
            "The gradients mislead: trust attacks without gradients here, and give them more "
            "steps (suite gradient-free)",
        )  # fmt: skip

    def transfer(self) -> Finding | None:
        return self.beaten(
            "transfer beats white-box", self.kind("transfer"), self.whole(self.kind("gradient")),
            lambda tried: self.few,
            "{name}, crafted on another model, broke {broke} of {tried} points that attacks on the "
            "model itself had left",
            "The model's own gradients mislead: attack it through a surrogate, or without "
            "gradients",
        )  # fmt: skip

    def softened(self) -> Finding | None:
        names = [
            name for name in self.kind("gradient")
            if self.of(name).get("soften") and not self.of(name).get("carry")
        ]  # fmt: skip
        return self.beaten(
            "softened gradients beat exact ones", names, self.whole(self.exact()),
            # Another loss or width alone finds some: only a large share is a sign.
            lambda tried: max(self.few, 4, 0.2 * tried),
            "{name}, with softened gradients, broke {broke} of {tried} points that exact gradients "
            "had left",
            "Units of the model saturate or are dead: quote no number from exact gradients alone",
        )  # fmt: skip

    def often(
        self, code: str, column: str, least: float, names: list[str], what: str, remedy: str
    ) -> Finding | None:
        """A sign if on a tenth of the standing points the share in a column exceeds ``least``."""
        mine = np.isin(self.rows["task"], names) & self.stands
        seen, ids = self.rows[column][mine].astype(float), self.rows["id"][mine]
        many, of = len(np.unique(ids[seen > least])), len(np.unique(ids[~np.isnan(seen)]))
        if many < max(2, 0.1 * of):
            return None
        return self.finding(code, f"on {many} of {of} standing points {what}", remedy)

    def zero(self) -> Finding | None:
        # Cross-entropy saturates on confident models: that is the loss's fault.
        names = [name for name in self.exact() if self.of(name).get("loss") != "ce"]
        return self.often(
            "zero gradients", "zero", 0.5, names,
            "most gradients along the path were exactly zero",
            "Look for rounding, thresholds, saturation or detach() in the model",
        )  # fmt: skip

    def huge(self) -> Finding | None:
        return self.often(
            "exploding gradients", "huge", 0.1, self.exact(),
            "gradients along the path were infinite or beyond 1e30",
            "Look for divisions by almost zero, deep recurrences, or purification in a loop",
        )  # fmt: skip

    def headway(self) -> Finding | None:
        mine = np.isin(self.rows["task"], self.kind("gradient")) & self.stands
        if not mine.any() or not (self.rows["distance"] > 0).any():
            return None
        ids, gain = self.rows["id"][mine], (self.clean_margin - self.rows["margin"])[mine]
        each, group = np.unique(ids, return_inverse=True)
        best = np.full(len(each), -np.inf)
        np.maximum.at(best, group, np.nan_to_num(gain, nan=-np.inf))
        stuck = int((best <= 0).sum())
        if stuck < max(2, 0.2 * len(each)):
            return None
        return self.finding(
            "the loss does not rise",
            f"on {stuck} of {len(each)} standing points no attack by gradients came nearer to the "
            "decision boundary than the clean input is",
            "The gradients do not lead uphill: check the model's backward pass",
        )

    def unbounded(self) -> Finding | None:
        mine = np.isin(self.rows["task"], self.kind("sanity"))
        ids = self.rows["id"][mine]
        tried, won = (len(np.unique(v)) for v in (ids, ids[self.rows["loss"][mine] > 0]))
        if tried < 2 or won >= 0.75 * tried:
            return None
        return self.finding(
            "larger threats do not help",
            f"without any bound but the box, an attack by gradients succeeded on {won} of {tried} "
            "points only",
            "Nothing can be robust to that: the gradients mislead, or the model hardly depends on "
            "its input",
        )

    def restarts(self) -> Finding | None:
        several = [
            name for name in self.exact()
            if self.of(name).get("restarts", 1) > 1 and not self.of(name).get("targets")
            and self.of(name).get("loss") == "margin"
        ]  # fmt: skip
        mine = np.isin(self.rows["task"], several) & self.stands & (self.clean_margin > 0)
        best, worst = (self.rows[k][mine].astype(float) for k in ("loss", "worst"))
        gained = best + self.clean_margin[mine]
        known = ~np.isnan(worst) & np.isfinite(best) & (gained > 0)
        apart = (best - worst)[known] / gained[known]
        many = len(np.unique(self.rows["id"][mine][known]))
        if len(apart) < 2 or np.median(apart) < 0.5:
            return None
        return self.finding(
            "restarts disagree",
            f"on {many} standing points the worse of the random starts gained, in the "
            f"median, {100 * (1 - np.median(apart)):.0f}% of what the better one did",
            "The loss is rugged: use many more restarts, or attacks without gradients",
        )

    def deep(self) -> Finding | None:
        for name in self.kind("gradient"):
            special = self.of(name)
            rare = special.get("carry") or special.get("when") == "masked"
            if not special.get("portion") or rare:
                continue
            # With all attacks on all points, most were broken before.
            others = self.before(name, self.names)
            lost = np.isin(self.rows["task"], others) & self.rows["broken"].astype(bool)
            mine = (self.rows["task"] == name) & ~np.isin(self.rows["id"], self.rows["id"][lost])
            broke, tried = int(self.rows["broken"][mine].sum()), int(mine.sum())
            if broke >= self.few:
                return self.finding(
                    "more budget helps",
                    f"{name}, several times as expensive as the stages before, broke {broke} of "
                    f"the {tried} points nearest to the boundary",
                    f"Estimate: ten times the budget on all points would cost about "
                    f"{100 * broke / max(1, self.n):.1f} more points of accuracy. Use more steps, "
                    "targets and restarts",
                    masked=False,
                )
        return None
