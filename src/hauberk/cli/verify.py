"""``hauberk verify``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hauberk.cli.load import as_recorded, load_models, open_data
from hauberk.cli.normalisation import recalled
from hauberk.cli.options import DataOptions, DeviceOptions, ModelsOptions, option


@dataclass(frozen=True, kw_only=True)
class VerifyCommand(DeviceOptions, DataOptions, ModelsOptions):
    """Judge the points of a finished run again; exit code 1 if not everything was confirmed."""

    folder: str = option("", "the run's folder", positional=True)

    def run(self) -> int:
        from hauberk.evaluation import verify
        from hauberk.evaluation.core.prepare import box_of
        from hauberk.store.ledger import Ledger

        manifest = Ledger.open(self.folder).manifest
        box, data = box_of(manifest), None
        models = load_models(recalled(self, manifest), self, box)
        if self.data:  # bytes are spread over the run's box
            data = open_data(as_recorded(self, manifest), box)
        models = with_recorded_votes(self.folder, models)
        objects = with_recorded_networks(self.folder)
        found = verify(
            self.folder, models, data=data, batch_size=self.batch_size, threads=self.threads,
            objects=objects,
        )  # fmt: skip
        print(found)
        return 0 if found.ok else 1


def with_recorded_networks(folder: str) -> dict[str, Any]:
    """The threats and metrics of a run that name a network of their own, by their notation."""
    from hauberk.cli.load import network
    from hauberk.store.ledger import Ledger
    from hauberk.threats.notation import distance, threat

    manifest = Ledger.open(folder).manifest
    read = {"threats": threat, "metrics": distance}
    return {
        name: reader(name).of_network(network)
        for key, reader in read.items()
        for name in manifest.get(key) or ()
        if "@" in name and "(" in name
    }


def with_recorded_votes(folder: str, models: Any) -> Any:
    """The models, and the majority votes of them that a run of ``hauberk transfer`` had."""
    from hauberk.cli.transfer import with_votes
    from hauberk.store.ledger import Ledger

    manifest = Ledger.open(folder).manifest
    votes = manifest.get("votes")
    if not votes:
        return models
    names = [name for name in manifest["model_draws"] if name not in votes]
    if isinstance(models, list) and len(models) == len(names):
        models = dict(zip(names, models, strict=True))
    return with_votes(models, votes) if isinstance(models, Mapping) else models
