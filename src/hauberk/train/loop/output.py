"""What a training writes and reports while it runs, in its first process."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hauberk.evaluation.core.progress import Progress
from hauberk.models.saved import FILE
from hauberk.store.files import plain, to_json
from hauberk.train.loop.checkpoint import TrainingFolder, begun, leave
from hauberk.train.loop.logs import Board
from hauberk.train.settings import Execution

FILES = {
    "checkpoint": "checkpoint.pt", "best": "best.safetensors", "last": "last.safetensors",
    "history": "history.csv", "summary": "summary.json", "config": "config.json",
    "model": FILE,
}  # fmt: skip


class Output:
    """The folder of a training, its TensorBoard files and the user's callbacks.

    Does nothing without a folder and callbacks, and in all processes but the first.

    Args:
        options: ``out``, ``resume``, ``progress``, ``on_epoch`` and ``model_spec``.
        first: Whether this is the first process.
    """

    def __init__(self, options: Execution, first: bool) -> None:
        self.options, self.first = options, first
        self.path = None if options.out is None else Path(options.out)
        self.folder: TrainingFolder | None = None
        self.board: Board | None = None

    def open(self, config: Mapping[str, Any], model: nn.Module) -> dict[str, Any] | None:
        """Take the folder; the state saved last, if there is one.

        Args:
            config: What decides the numbers, with fingerprints of the model as it is given.
            model: The model itself, which may hold weights that this training saved.

        Raises:
            InputError: if the folder cannot be used.
        """
        if self.path is None or not self.first:
            return None
        if self.options.resume:
            config = begun(self.path, config, model)
        self.folder = TrainingFolder.at(self.path, config, self.options.resume)
        return self.folder.load()

    def begin(self, model: nn.Module) -> None:
        """Write how to load the weights that will come."""
        if self.folder is not None:
            self.folder.begin(model, self.options.model_spec)

    def open_logs(self, epochs: int) -> None:
        """Begin the TensorBoard files, or continue them after so many epochs."""
        if self.folder is not None:
            self.board = Board(self.path, epochs)

    def step(self, event: Progress) -> None:
        """Report a step."""
        if self.first and self.options.progress is not None:
            self.options.progress(event)

    def epoch(
        self, history: Sequence[dict[str, Any]], last: Mapping[str, Tensor],
        best: Mapping[str, Tensor] | None,
    ) -> None:  # fmt: skip
        """Write and report the last epoch of the history; ``best``: weights, if it is the best."""
        if self.folder is not None:
            if best is not None:
                self.folder.save_weights("best", best)
            self.folder.save_weights("last", last)
            self.folder.save_history(history)
        if self.board is not None:
            self.board.write(history[-1])
        if self.first and self.options.on_epoch is not None:
            self.options.on_epoch(dict(history[-1]))

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint."""
        if self.folder is not None:
            self.folder.save(state)

    def finish(
        self, summary: Mapping[str, Any], weights: Mapping[str, Tensor] | None
    ) -> dict[str, Path]:
        """Write the summary, and the weights if they are kept though not the best; the files."""
        if self.folder is not None:
            if weights is not None:
                self.folder.save_weights("best", weights)
            self.folder.write("summary.json", to_json(plain(summary)))
        return {} if self.path is None else {k: self.path / file for k, file in FILES.items()}

    def close(self, model: nn.Module) -> None:
        """Close the logs and free the folder, which ``model`` was trained in."""
        if self.board is not None:
            self.board.close()
        if self.folder is not None:
            self.folder.close()
            with suppress(RuntimeError):  # on a failed device; what ended the training matters more
                leave(self.folder.path, model)
