"""Which epoch is kept, and when patience ends a training."""

from dataclasses import dataclass

import pytest
import torch
from helpers.training import blobs, net
from torch.nn import functional as F

import hauberk as hb
from hauberk.train import Loss, Single, Standard, Strategy, fit


@dataclass(frozen=True, kw_only=True)
class Forgets(Strategy):
    """Learns for some epochs, then unlearns."""

    until: int = 3

    def loss(self, batch, tables):
        value = F.cross_entropy(batch.model(batch.x), batch.y)
        return Loss(value if batch.epoch < self.until else -value)


@pytest.mark.parametrize("select", ["union", "clean", "last"])
def test_the_best_epoch_is_kept_and_patience_ends_the_run(select):
    x, y = blobs(80)
    found = fit(
        net(), (x, y), Forgets(), epochs=30, minibatch=10, validation=30, learning_rate=0.02,
        select=select, patience=4,
    )  # fmt: skip
    scores = [record["valid_clean"] for record in found.history]
    best = scores.index(max(scores))
    assert len(scores) == best + 5 < 30
    right = (found.model(x[:30]).argmax(1) == y[:30]).float().mean().item()
    kept = scores[-1] if select == "last" else scores[best]
    assert right == pytest.approx(kept)
    assert found.summary["selected"] == (len(scores) if select == "last" else best + 1)
    assert max(scores) > scores[-1]


@pytest.mark.parametrize("select", ["union", "clean", "last"])
def test_without_threats_there_is_no_union(select):
    x, y = blobs(60, torch.float64)
    found = fit(
        net().double(), (x, y), Standard(), epochs=3, validation=20, select=select, patience=3
    )
    names = {name for name in found.summary if name.startswith("valid_")}
    assert names == {"valid_clean"}
    assert found.summary["select"] == ("last" if select == "last" else "clean")
    both = fit(net(), blobs(), Single(hb.Linf(0.05)), epochs=1, validation=20)
    assert both.summary["select"] == "union"
    assert {"valid_union", "valid_clean", "valid_linf:0.05"} <= set(both.summary)
