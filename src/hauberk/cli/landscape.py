"""``hauberk landscape``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hauberk.cli.options import option
from hauberk.cli.settings import attack_of
from hauberk.cli.study import StudyCommand
from hauberk.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from hauberk.data import Dataset
    from hauberk.engine.method import Method
    from hauberk.threats import Threat

WAYS = ("plane", "segment")


@dataclass(frozen=True, kw_only=True)
class LandscapeCommand(StudyCommand):
    """Draw the loss around an example, on a plane or along segments."""

    threat: list[str] = option([], "a panel for each: l1:10; repeat")
    along: str = option("plane", "plane of two points, or segment to failed points")
    attack: str | None = option(None, "the gradient attack; PGD by default, SparseL1Descent in l1")
    set: list[str] = option([], "a setting of it, e.g. steps=100; repeat")
    free: str | None = option(None, "of a plane, the attack without gradients; by the threat")
    set_free: list[str] = option([], "a setting of it; repeat")
    loss: str = option("ce", "what is drawn on a plane: ce or margin")
    index: int | None = option(None, "the plane of this example of the data, not of the first apt")
    points: int | None = option(None, "on each axis: 41, on a segment 11")
    span: tuple[float, float] = option((0.0, 1.0), "of a plane, in shares of the way: FROM TO")
    unclipped: bool = option(False, "leave the box where the plane does")

    def run(self) -> int:
        from hauberk.report.plots import landscape as plots
        from hauberk.report.tables import landscape as tables

        threats = self.threats()
        attack = attack_of(self.attack, self.set) if self.attack else None
        free = attack_of(self.free, self.set_free, "--free") if self.free else None
        picture = self.place("landscape")
        models, data = self.at_index(self.index).loaded()
        draw = self.plane if self.along == "plane" else self.segment
        panels = {
            (name if len(models) > 1 else "", str(threat)): draw(model, data, threat, attack, free)
            for name, model in models.items()
            for threat in threats
        }
        if self.along == "plane":
            tables.planes(panels, self.loss).print()
            if picture:
                plots.planes(panels, picture, loss=self.loss)
        else:
            tables.segments(panels).print()
            if picture:
                plots.segments(panels, picture)
        if picture:
            rows = [{"model": names[0], **found} for names, found in panels.items()]
            self.leave_numbers(picture, self.facts() | {"along": self.along, "panels": rows})
        return 0

    def threats(self) -> "list[Threat]":
        """The threats, and a look at the words that go with them.

        Raises:
            InputError: for none, or words that do not fit.
        """
        from hauberk.cli.load import threat_of

        if self.along not in WAYS:
            raise InputError(f"--along {self.along}: give plane or segment")
        if self.loss not in ("ce", "margin"):
            raise InputError(f"--loss {self.loss}: give ce or margin")
        if self.along == "segment" and (self.free or self.set_free or self.index is not None):
            raise InputError("--free and --index are for planes: leave them out")
        if self.points is not None and self.points < 2:
            raise InputError(f"--points is {self.points}: give 2 or more")
        if not self.span[0] < self.span[1]:
            raise InputError(f"--span is {self.span[0]} {self.span[1]}: give a span that rises")
        if self.set and not self.attack:
            raise InputError(f"--set {self.set[0]}: name the attack that it is of, --attack")
        if self.set_free and not self.free:
            raise InputError(f"--set-free {self.set_free[0]}: name the attack, --free")
        return list(threat_of(self.threat).parts)

    def plane(
        self, model: "nn.Module", data: "Dataset", threat: "Threat", attack: "Method | None",
        free: "Method | None",
    ) -> dict[str, Any]:  # fmt: skip
        """The plane of one model and threat."""
        from hauberk.analysis.landscape import landscape

        found = landscape(
            model, data.images, data.labels, threat, attack, free, points=self.points or 41,
            span=self.span, clip=not self.unclipped, **self.how(),
        )  # fmt: skip
        return found.to_dict() | {"example": int(data.ids[found.example])}

    def segment(
        self, model: "nn.Module", data: "Dataset", threat: "Threat", attack: "Method | None",
        free: "Method | None",
    ) -> dict[str, Any]:  # fmt: skip
        """The segments of one model and threat."""
        from hauberk.analysis.landscape import default_attacks, segment

        method = attack or default_attacks(threat)[0]
        found = method(model, data.images, data.labels, threat, stop=False, **self.how())
        segments = segment(
            model, data.images, data.labels, found.points, points=self.points or 11,
            batch_size=self.batch_size, threat=str(threat),
        )  # fmt: skip
        return segments.to_dict() | {"rows": data.ids[segments.rows].tolist()}
