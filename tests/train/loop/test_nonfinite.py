"""A loss or a weight that is not finite ends a training, and nothing of it is kept."""

from dataclasses import dataclass

import pytest
import torch
from helpers.training import blobs, clean, loader, net
from torch.nn import functional as F

import hauberk as hb
from hauberk.errors import InputError, TrainingError
from hauberk.train import Loss, Standard, Strategy, fit
from hauberk.train.loop.trainer import Trainer
from hauberk.train.settings import Options


@dataclass(frozen=True, kw_only=True)
class BreaksLast(Strategy):
    """The gradient of its last step overflows, while the loss is finite."""

    at: int = 5

    def loss(self, batch, tables):
        value = clean(batch)
        return Loss(value * 1e30 if batch.step == self.at else value)


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("folder", [False, True])
def test_weights_broken_by_the_last_step_are_not_returned(tmp_path, folder, ema):
    x, y = blobs()
    out = tmp_path / "run" if folder else None
    steps, records = [], []
    with pytest.raises(TrainingError, match=r"a weight .* at step 6 \(epoch 2"):
        fit(
            net(), (x, y), BreaksLast(), epochs=2, minibatch=14, validation=10, out=out, ema=ema,
            optimiser="sgd", learning_rate=0.1, momentum=0.0, progress=steps.append,
            schedule=("steps", [(5, 1e38)]), on_epoch=records.append,
        )  # fmt: skip
    assert [r["epoch"] for r in records] == [1]
    assert max(s.done for s in steps) < 1
    if out is not None:
        from safetensors.torch import load_file

        for name in ("best", "last"):
            weights = load_file(out / f"{name}.safetensors")
            assert all(v.isfinite().all() for v in weights.values())
        assert len((out / "history.csv").read_text().splitlines()) == 2
        assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 3
        assert not (out / "summary.json").exists()


def test_buffers_may_be_infinite_for_good_and_weights_may_not():
    model = net()
    model.register_buffer("mask", torch.full((3,), -torch.inf))
    fit(model, blobs(), Standard(), epochs=1)
    with torch.no_grad():
        next(model.parameters())[0, 0] = torch.nan
    with pytest.raises(InputError, match="start from finite weights"):
        fit(model, blobs(), Standard(), epochs=1)


@dataclass(frozen=True, kw_only=True)
class Breaks(Strategy):
    at: int = 6

    def loss(self, batch, tables):
        value = F.cross_entropy(batch.model(batch.x), batch.y)
        return Loss(value * (torch.nan if batch.step == self.at else 1.0))


@pytest.mark.parametrize("check_every", [1, 20])
def test_a_loss_of_nan_ends_the_run_and_names_the_examples(tmp_path, check_every):
    x, y = blobs()
    data = hb.data.Dataset(x, y, torch.arange(50) + 1000, "blobs")
    options = Options(epochs=3, minibatch=16, validation=2, out=tmp_path)
    trainer = Trainer(net(), data, Breaks(), options)
    trainer.nonfinite.check_every = check_every
    trainer.open()
    with pytest.raises(TrainingError, match=r"nan at step 7 \(epoch 3, examples") as caught:
        trainer.run()
    trainer.close()
    rows = loader(x[2:], y[2:], 16).rows(2, 0)
    assert list(caught.value.ids) == (rows + 1002).tolist()
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 6
    assert all(v.isfinite().all() for v in kept["model"].values())


@dataclass(frozen=True, kw_only=True)
class Steep(Strategy):
    def loss(self, batch, tables):
        return Loss(1e30 * F.cross_entropy(batch.model(batch.x), batch.y))


def test_weights_that_overflow_are_not_saved(tmp_path):
    x, y = blobs()
    with pytest.raises(TrainingError, match=r"a weight .* at step 1 "):
        fit(
            net(), (x, y), Steep(), epochs=2, minibatch=50, optimiser="sgd", learning_rate=1e38,
            out=tmp_path,
        )  # fmt: skip
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 0
