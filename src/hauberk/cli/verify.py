"""``hauberk verify``."""

from dataclasses import dataclass

from hauberk.cli.load import load_data, load_models
from hauberk.cli.options import DataOptions, DeviceOptions, ModelsOptions, option


@dataclass(frozen=True, kw_only=True)
class VerifyCommand(DeviceOptions, DataOptions, ModelsOptions):
    """Judge the points of a finished run again; exit code 1 if not everything was confirmed."""

    folder: str = option("", "the run's folder", positional=True)

    def run(self) -> int:
        from hauberk.evaluation import verify

        models, data = load_models(self, self), load_data(self) if self.data else None
        found = verify(self.folder, models, data=data, batch_size=self.batch_size)
        print(found)
        return 0 if found.ok else 1
