"""``hauberk export``."""

from dataclasses import dataclass

from hauberk.cli.load import load_models
from hauberk.cli.normalisation import recalled
from hauberk.cli.options import DeviceOptions, ModelsOptions, option
from hauberk.cli.verify import with_recorded_networks
from hauberk.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ExportCommand(DeviceOptions, ModelsOptions):
    """Write the adversarial points of a run as images, rounded to 8 bits and judged again."""

    folder: str = option("", "the run's folder", positional=True)
    out: str | None = option(None, "a new folder for the images")
    format: str = option("png", "png (what survives rounding), or npz (all points, and arrays)")

    def run(self) -> int:
        from hauberk.evaluation import export
        from hauberk.evaluation.core.prepare import box_of
        from hauberk.store.ledger import Ledger

        if not self.out:
            raise InputError("no folder: give --out, a new one for the images")
        manifest = Ledger.open(self.folder).manifest
        models = load_models(recalled(self, manifest), self, box_of(manifest))
        several = list(models.values()) if isinstance(models, dict) else models
        if len(several) != 1:
            raise InputError(f"{len(several)} models: give the run's own, once")
        objects = with_recorded_networks(self.folder)
        print(export(self.folder, several[0], self.out, format=self.format,
                     batch_size=self.batch_size, objects=objects))  # fmt: skip
        return 0
