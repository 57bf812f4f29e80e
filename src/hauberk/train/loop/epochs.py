"""What follows an epoch: validation, selection, history; and what follows the last one."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hauberk.models.saved import FILE
from hauberk.store.files import plain, to_json
from hauberk.train.fit import Trained
from hauberk.train.loop.examples import Material
from hauberk.train.loop.logs import Board, Tally, means
from hauberk.train.loop.validation import Held, count

if TYPE_CHECKING:
    from hauberk.train.loop.trainer import Run

_FILES = {
    "checkpoint": "checkpoint.pt", "best": "best.safetensors", "last": "last.safetensors",
    "history": "history.csv", "summary": "summary.json", "config": "config.json",
    "model": FILE,
}  # fmt: skip


class Epochs:
    """The history of a run and its best weights.

    Attributes:
        over: whether patience has run out.
    """

    def __init__(self, run: "Run", held: Material) -> None:
        self.run, self.held = run, held
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.over = False
        self.on_epoch: Callable[[dict[str, Any]], None] | None = None
        self.board: Board | None = None

    def open(self) -> None:
        """Open the log files; the run knows by now where it goes on."""
        first = self.run.processes.rank == 0
        self.board = Board(self.run.out if first else None, len(self.history))

    def close(self) -> None:
        """Close the log files."""
        if self.board is not None:
            self.board.close()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"history": self.history, "best": self.best, "over": self.over}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.history, self.best, self.over = state["history"], state["best"], state["over"]

    def passes(self, tally: Tally) -> tuple[int, int]:
        """Forwards and backwards so far."""
        before = [sum(r[name] for r in self.history) for name in ("forwards", "backwards")]
        return before[0] + tally.forwards, before[1] + tally.backwards

    def ended(self, epoch: int) -> None:
        """Validate, write down, and keep the weights if they are the best."""
        run = self.run
        states = run.processes.gather(run.tally.state())
        run.tally.clear()
        begun = time.perf_counter()
        with self.averaged():
            accuracies = self.validate()
        attacking = max(s["attacking"] for s in states)
        record = {
            "epoch": epoch + 1,
            "step": run.step,
            **means(states),
            **accuracies,
            "learning_rate": float(run.optimiser.param_groups[0]["lr"]),
            "forwards": sum(s["forwards"] for s in states),
            "backwards": sum(s["backwards"] for s in states),
            "seconds_attack": attacking,
            "seconds_training": max(s["seconds"] for s in states) - attacking,
            "seconds_validation": time.perf_counter() - begun,
        }
        self.history.append(record)
        self.choose(record)
        if run.folder is not None:
            run.folder.save_weights("last", self.weights())
            run.folder.save_history(self.history)
        if self.board is not None:
            self.board.write(record)
        if self.on_epoch is not None:
            self.on_epoch(dict(record))

    def choose(self, record: Mapping[str, Any]) -> None:
        """Keep the weights if their accuracy is above that of every epoch before."""
        settings = self.run.settings
        by = "union" if self.select == "last" and settings.patience else self.select
        # Without threats there is no union.
        score = record.get("valid_" + by, None if by == "last" else record.get("valid_clean"))
        if score is None:
            return
        if self.best is None or score > self.best["score"]:
            kept = None
            if settings.select != "last":
                kept = {k: v.detach().cpu().clone() for k, v in self.weights().items()}
                if self.run.folder is not None:
                    self.run.folder.save_weights("best", kept)
            self.best = {"score": score, "epoch": record["epoch"], "weights": kept}
        elif settings.patience is not None:
            self.over = record["epoch"] - self.best["epoch"] >= settings.patience

    @property
    def select(self) -> str:
        """What weights are selected by; without threats there is no union, but ``clean``."""
        asked = self.run.settings.select
        return "clean" if asked == "union" and not self.run.strategy.threats else asked

    def weights(self) -> dict[str, Tensor]:
        """The weights that count: their average if one is kept."""
        average = self.run.average
        return self.run.model.state_dict() if average is None else average.state

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with the weights that count, in this block."""
        if self.run.average is None:
            yield
            return
        own = {k: v.detach().clone() for k, v in self.run.model.state_dict().items()}
        self.run.model.load_state_dict(self.run.average.state)
        try:
            yield
        finally:
            self.run.model.load_state_dict(own)

    def validate(self) -> dict[str, float]:
        """Accuracies (and margins) on the held-out examples, each process on its share of them."""
        if not len(self.held):
            return {}
        run = self.run
        mine = run.processes.share(torch.arange(len(self.held)))
        victim = run.processes.victim(run.victim.model, "eval")
        victim.stiff = run.victim.stiff
        x, y = self.held.x[mine].to(run.device), self.held.y[mine].to(run.device)
        # Numbers of the examples are those of the whole set: the same start in every process.
        held = Held(
            victim, x, y, mine.to(run.device), run.strategy.threats,
            run.settings.validate_steps, run.box,
        )  # fmt: skip
        counts = run.processes.gather(count(held.correct()))
        names = dict.fromkeys(n for c in counts for n in c)
        found = {f"valid_{n}": sum(c[n] for c in counts) / len(self.held) for n in names}
        if run.settings.select == "margin":
            sums = run.processes.gather(float(held.margins().sum()))
            found["valid_margin"] = sum(sums) / len(self.held)
        return found

    def finish(self) -> Trained:
        """The model with the selected weights, and the summary."""
        run = self.run
        chosen = None if self.best is None else self.best["weights"]
        run.model.load_state_dict(self.weights() if chosen is None else chosen)
        run.model.eval()
        run.optimiser.zero_grad(set_to_none=True)
        picked = self.history[-1] if chosen is None else self.history[self.best["epoch"] - 1]  # type: ignore[index]
        summary = {
            "epochs": len(self.history),
            "selected": picked["epoch"],
            "select": "last" if chosen is None else self.select,
            "loss": picked["loss"],
            **{k: v for k, v in picked.items() if k.startswith("valid_")},
            **{k: sum(r[k] for r in self.history) for k in ("forwards", "backwards")},
            **{
                f"seconds_{k}": sum(r[f"seconds_{k}"] for r in self.history)
                for k in ("attack", "training", "validation")
            },
            "processes": run.processes.world,
            "device": str(run.device),
        }
        paths: dict[str, Path] = {}
        if run.out is not None:
            if run.folder is not None:
                if chosen is None:
                    run.folder.save_weights("best", self.weights())
                run.folder.write("summary.json", to_json(plain(summary)))
            paths = {name: run.out / file for name, file in _FILES.items()}
        return Trained(run.model, self.history, summary, paths)
