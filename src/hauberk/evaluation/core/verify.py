"""Verification: a run, judged again from what lies on disk."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from hauberk.errors import InputError
from hauberk.evaluation.core.checks import Checks, Data, Point
from hauberk.store.ledger import Ledger
from hauberk.victims.averaged import Averaged
from hauberk.victims.victim import Victim

__all__ = ["Data", "Point", "Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """What became of a ledger's claims.

    Attributes:
        points: how many points the ledger calls broken.
        confirmed: how many of them break the model again.
        refuted: those that do not, each with the reason.
        unsettled: those within rounding of the boundary, then and now: another batch size or
            device decides them otherwise. They do not count against the run.
        problems: whatever else does not hold, one line each.
        finished: whether the run was finished; otherwise what is there was verified.
    """

    points: int
    confirmed: int
    refuted: list[Point] = field(default_factory=list)
    unsettled: list[Point] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    finished: bool = True

    @property
    def ok(self) -> bool:
        """Whether nothing was refuted and nothing else is wrong."""
        return not self.refuted and not self.problems

    def __str__(self) -> str:
        lines = [f"{self.points} broken points: {self.confirmed} confirmed, "]
        lines[0] += f"{len(self.refuted)} refuted"
        if self.unsettled:
            lines[0] += f", {len(self.unsettled)} within rounding of the boundary"
        if not self.finished:
            lines.append("the run is unfinished: only what is there was verified")
        lines += [
            f"refuted: example {p.id}, {p.attack} under {p.threat}: {p.reason}"
            for p in self.refuted[:10]
        ]
        if len(self.refuted) > 10:
            lines.append(f"refuted: {len(self.refuted) - 10} more")
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def verify(
    path: str | Path,
    model: nn.Module | Victim,
    *,
    data: Data | None = None,
    batch_size: int | None = None,
) -> Verification:
    """Open the ledger of a run, of an evaluation or of radii, and check every claim in it.

    Decides every clean input and judges every broken point again, compares what the parts record
    with what was found, and what they add up to with ``summary.json``. With ``data``, also checks
    that the ledger's clean inputs and labels are those of the data set.

    Raises:
        InputError: if there is no ledger, or its manifest cannot be read or does not say which
            threats and box it is about; for a min-max run.
    """
    ledger = Ledger.open(path)
    if ledger.manifest.get("kind") == "radius":
        from hauberk.evaluation.radii import verify as radii_verify

        return radii_verify.verify(path, model, data=data, batch_size=batch_size)
    if ledger.manifest.get("kind") == "minmax":
        raise InputError(
            "a min-max run is judged when it is made; run it again with --resume to see its table"
        )
    victim = victim_of(ledger, model, batch_size)
    check = Checks(ledger, victim, data)
    blocks = {key.removeprefix("clean-") for key in ledger.keys("clean-")}
    blocks |= {key.split("-")[1] for key in ledger.keys("attack-")}
    for block in sorted(blocks):
        check.block(block)
    finished = check.totals()
    return Verification(
        points=check.confirmed + len(check.refuted) + len(check.unsettled),
        confirmed=check.confirmed,
        refuted=check.refuted,
        unsettled=check.unsettled,
        problems=check.problems,
        finished=finished,
    )


def victim_of(ledger: Ledger, model: nn.Module | Victim, batch_size: int | None) -> Victim:
    """The model as the run saw it: averaged over as many draws."""
    victim = Victim.of(model, batch_size)
    draws = ledger.manifest.get("draws", 1)
    if draws != victim.draws and type(victim) is Victim:
        return Averaged(victim.model, draws, seed=ledger.manifest["seed"], batch_size=batch_size)
    return victim
