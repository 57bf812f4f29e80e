"""``hauberk price``."""

from dataclasses import dataclass

from hauberk.cli.options import option
from hauberk.cli.study import PictureOptions


@dataclass(frozen=True, kw_only=True)
class PriceCommand(PictureOptions):
    """How far models are from resisting several threats as well as one can resist each alone."""

    runs: list[str] = option([], "folders of hauberk evaluate", positional=True)
    single: list[str] = option(
        [], "folder of a model trained against one threat: the best are taken from these; repeat"
    )

    def run(self) -> int:
        from hauberk.analysis.price import price_of
        from hauberk.report.plots import price as plots
        from hauberk.report.tables.price import table

        found = price_of(self.runs, self.single).to_dict()
        picture = self.place("price")
        table(found).print()
        if picture:
            plots.price(found, picture)
            self.leave_numbers(picture, found)
        return 0
