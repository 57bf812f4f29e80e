"""``hauberk gallery``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.cli.load import load_named, named_models
from hauberk.cli.options import option
from hauberk.cli.settings import attack_of
from hauberk.cli.study import StudyCommand
from hauberk.errors import InputError

if TYPE_CHECKING:
    from hauberk.analysis.gallery import Gallery


@dataclass(frozen=True, kw_only=True)
class GalleryCommand(StudyCommand):
    """Draw clean and adversarial images and their differences, a column for each threat."""

    threat: list[str] = option([], "a column: l1:10; affine(linf:0.3,l1:10) makes five; repeat")
    attack: str | None = option(None, "one attack for all columns; by the threat if left out")
    set: list[str] = option([], "a setting of it, e.g. steps=100; repeat")
    run_: str | None = option(None, "the points of this run, instead of threats and data")
    show: int = option(3, "examples drawn: of those given, the ones that most columns break")
    index: int | None = option(None, "draw this example of the data alone")

    def run(self) -> int:
        import numpy as np

        from hauberk.report.plots import gallery as plots
        from hauberk.report.tables.gallery import table
        from hauberk.threats.base import Box

        if self.show < 1:
            raise InputError(f"--show is {self.show}: give 1 or more")
        picture = self.place("gallery")
        found = self.attacked() if self.run_ is None else self.of_run(Path(self.run_))
        table(found.to_dict()).print()
        if picture:
            shown = found.best(self.show)
            box = Box.of(self.box)
            plots.gallery(shown, picture, box=(np.asarray(box.lo), np.asarray(box.hi)))
            self.leave_numbers(picture, self.facts() | {"run": self.run_, **shown.to_dict()})
        return 0

    def attacked(self) -> "Gallery":
        """The points of attacks.

        Raises:
            InputError: for no threats, several models, and words that do not fit.
        """
        from hauberk.analysis.gallery import gallery
        from hauberk.cli.load import threat_of

        if self.set and not self.attack:
            raise InputError(f"--set {self.set[0]}: name the attack that it is of, --attack")
        threats = list(threat_of(self.threat).parts)
        attack = attack_of(self.attack, self.set) if self.attack else None
        models, data = self.at_index(self.index).loaded()
        if len(models) > 1:
            raise InputError(f"{len(models)} models: give one, a gallery has a column a threat")
        (model,) = models.values()
        found = gallery(
            model, data.images, data.labels, threats, attack, ids=data.ids, **self.how()
        )
        return replace(found, class_names=data.class_names)

    def of_run(self, folder: Path) -> "Gallery":
        """The points of a run, and what the model sees in them if one is given.

        Raises:
            InputError: for words that do not fit, and an example that the run does not have.
        """
        from hauberk.analysis.gallery import gallery_of_run

        for name in ("threat", "attack", "set", "data", "limit"):
            if getattr(self, name):
                raise InputError(f"--{name} and --run exclude each other: leave --{name} out")
        named = named_models(self) if self.model else []
        if len(named) > 1:
            raise InputError(f"{len(named)} models: give the one of the run, or none")
        model = load_named(named[0], self) if named else None
        found = gallery_of_run(folder, model)
        if self.index is None:
            return found
        rows = (found.ids == self.index).nonzero().squeeze(1)
        if not len(rows):
            raise InputError(f"--index is {self.index}: the run in {folder} has no such example")
        return found.take(rows)
