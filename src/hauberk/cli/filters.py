"""``hauberk filters``."""

from dataclasses import dataclass

from hauberk.cli.load import named_models, names_of
from hauberk.cli.options import ModelsOptions, option
from hauberk.cli.study import PictureOptions


@dataclass(frozen=True, kw_only=True)
class FiltersCommand(PictureOptions, ModelsOptions):
    """Draw the first-layer filters of models, and name those that only compare a pixel."""

    single: float = option(0.9, "share of a filter's weights from which one is the only one")

    def run(self) -> int:
        from hauberk.analysis.filters import filters
        from hauberk.report.plots import filters as plots
        from hauberk.report.tables.filters import table

        picture = self.place("filters")
        named = named_models(self)
        names = self.name or names_of(named)
        panels = {
            name: filters(model.load(), self.single).to_dict()
            for name, model in zip(names, named, strict=True)
        }
        table(panels).print()
        if picture:
            plots.filters(panels, picture)
            self.leave_numbers(picture, {"command": ["hauberk", *self.argv], "models": panels})
        return 0
