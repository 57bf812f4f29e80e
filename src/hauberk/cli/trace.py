"""``hauberk trace``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hauberk.cli.options import option
from hauberk.cli.settings import attack_of, values
from hauberk.cli.study import StudyCommand, one_threat
from hauberk.errors import InputError

if TYPE_CHECKING:
    from hauberk.attacks import Attack


@dataclass(frozen=True, kw_only=True)
class TraceCommand(StudyCommand):
    """Draw the loss of an attack against its steps, one curve for each setting."""

    threat: list[str] = option([], "one threat, e.g. l1:10")
    attack: str = option("PGD", "an attack that takes steps")
    set: list[str] = option([], "a setting of it, e.g. steps=100; repeat")
    vary: list[str] = option(
        [], "a curve for each value: step_size=0.1,1, or q=0.8,0.99,none for sparse steps; repeat"
    )
    loss: str = option("ce", "what is drawn: ce, margin, dlr or another loss of attacks")
    log: bool = option(False, "steps on a logarithmic scale")

    def run(self) -> int:
        from hauberk.analysis.trace import trace
        from hauberk.report.plots.trace import losses
        from hauberk.report.tables.trace import table

        threat, attacks = one_threat(self.threat), self.attacks()
        picture = self.place("trace")
        models, data = self.loaded()
        panels: dict[str, list[dict[str, Any]]] = {
            name: [
                found.to_dict()
                for found in trace(
                    model, data.images, data.labels, threat, attacks, loss=self.loss, **self.how()
                )
            ]
            for name, model in models.items()
        }
        table(panels).print()
        if picture:
            losses(panels, picture, log=self.log, title=f"{self.attack} under {threat}")
            self.leave_numbers(picture, self.facts() | {"models": panels})
        return 0

    def attacks(self) -> "dict[str, Attack[Any]]":
        """The attack at each of its settings, by name of the curve.

        Raises:
            InputError: for an attack that takes no steps, and for settings that it refuses.
        """
        from hauberk.analysis.trace import varied
        from hauberk.attacks import Attack
        from hauberk.objectives.traced import Traced

        attack = attack_of(self.attack, self.set)
        if not isinstance(attack, Attack):
            raise InputError(f"--attack {self.attack} takes no steps that can be traced: give PGD")
        Traced(shown=self.loss)  # refuses another loss before any work
        return varied(attack, dict(map(values, self.vary)))
