"""``hauberk demo``."""

from dataclasses import dataclass
from pathlib import Path

from hauberk.cli.options import OutOptions

OUT = "runs/demo"


@dataclass(frozen=True, kw_only=True)
class DemoCommand(OutOptions):
    """Train and compare two small models on embedded data, in ``runs/demo`` without ``--out``."""

    def run(self) -> int:
        from hauberk.demo import run

        run(Path(self.out or OUT), seed=self.seed)
        return 0
