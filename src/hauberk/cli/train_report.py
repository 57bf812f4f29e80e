"""What ``hauberk train`` prints after each epoch, and at the end."""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hauberk.cli.dry_run import duration
from hauberk.report.plots.minmax import weighed
from hauberk.train import Trained

_MARGIN = "valid_margin"
_SECONDS = ("seconds_attack", "seconds_training", "seconds_validation")


def epoch_lines(epochs: int, write: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    """A function of an epoch's record that writes one line about it.

    Args:
        epochs: how many there are, for the time left.
        write: called with each line.
    """
    ends: list[float] = []

    def line(record: dict[str, Any]) -> None:
        if not ends:  # what it took to start is not what an epoch takes
            ends.append(time.monotonic() - sum(v for k, v in record.items() if k in _SECONDS))
        ends.append(time.monotonic())
        each = (ends[-1] - ends[0]) / (len(ends) - 1)
        left = each * (epochs - record["epoch"])
        parts = [f"epoch {record['epoch']}/{epochs}", f"loss {record['loss']:.4g}"]
        parts.append(f"rate {record['learning_rate']:.3g}")
        parts += [f"{name} {share:.1%}" for name, share in _accuracies(record).items()]
        parts += [f"margin {record[_MARGIN]:.3f}"] if _MARGIN in record else []
        parts.append(f"{passes_of(record):,} passes")
        write(", ".join([*parts, f"about {duration(left)} left" if left else "done"]))

    return line


def print_trained(found: Trained, command: Sequence[str], out: str) -> None:
    """A short table, and what to do next.

    Args:
        found: the training.
        command: the command that evaluates its weights.
        out: its folder.
    """
    s = found.summary
    rows = {"epochs": str(s["epochs"]), "selected": f"epoch {s['selected']} ({s['select']})"}
    for name, share in _accuracies(s).items():
        rows[f"accuracy {name}"] = f"{share:.1%}"
        if f"gap_{name}" in s:
            known, gap = s[f"train_{name}"], s[f"gap_{name}"]
            rows[f"accuracy {name}"] += f" (on training examples {known:.1%}, gap {gap:.1%})"
    rows |= {"mean margin": f"{s[_MARGIN]:.3f} of the radius"} if _MARGIN in s else {}
    if not _accuracies(s):
        rows["selected"] += ": no examples to validate on, --validation gives some"
    rows["passes"] = f"{s['forwards']:,} forwards, {s['backwards']:,} backwards"
    parts = {name.removeprefix("seconds_"): s[name] for name in _SECONDS}
    each = ", ".join(f"{kind} {seconds:.1f}" for kind, seconds in parts.items())
    rows["seconds"] = f"{sum(parts.values()):.1f} ({each})"
    rows["weights"] = str(found.paths["best"])
    drawn = "weights.png, " if weighed(found.history) else ""
    rows["folder"] = f"{out} ({drawn}history.csv, summary.json, config.json, ...)"
    wide = max(map(len, rows))
    print("\n".join(f"{name:{wide}}  {value}" for name, value in rows.items()))
    print(f"\nevaluate it:\n  {shlex.join(command)}")


def passes_of(record: Mapping[str, Any]) -> int:
    """Passes of an epoch, forwards and backwards together."""
    return int(record["forwards"] + record["backwards"])


def _accuracies(record: dict[str, Any]) -> dict[str, float]:
    names = [k for k in record if k.startswith("valid_") and k != _MARGIN]
    return {k.removeprefix("valid_"): record[k] for k in names}
