"""Which epoch is kept, and when patience ends a training."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers.training import blobs, net
from torch.nn import functional as F

import hauberk as hb
from hauberk.train import AMPGD, Loss, Single, Standard, Strategy, fit
from hauberk.train.loop.epochs import box_of


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


@pytest.mark.parametrize("n", [1, 2, 5, 40, 101])
def test_boxes_are_those_of_a_box_plot(n):
    from matplotlib.cbook import boxplot_stats

    rng = np.random.default_rng(n)
    values = rng.standard_cauchy(n)  # with numbers far beyond the whiskers
    (printed,) = boxplot_stats(values, whis=1.5)
    found = box_of(torch.from_numpy(values))
    names = {"low": "whislo", "q1": "q1", "median": "med", "q3": "q3", "high": "whishi"}
    assert list(found) == list(names)
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(printed[theirs])


def test_a_history_keeps_the_spread_of_what_a_strategy_notes():
    seen = []

    @dataclass(frozen=True, kw_only=True)
    class Noting(AMPGD):
        def noted(self, tables):
            seen.append(tables["w"].clone())
            return super().noted(tables)

    strategy = Noting(hb.Linf(0.02) | hb.L2(0.1) | hb.Linf(0.05), steps=2, beta=0.5, gamma=0.5)
    found = fit(net(), blobs(60), strategy, epochs=2, minibatch=20, learning_rate=0.02)
    assert len(seen) == len(found.history) == 2
    for record, w in zip(found.history, seen, strict=True):
        for k, name in enumerate(("linf:0.02", "l2:0.1", "linf:0.05")):
            assert record[f"weight {name}"] == pytest.approx(float(w[:, k].mean()), abs=1e-6)
            for end, value in box_of(w[:, k]).items():
                assert record[f"weight {name} {end}"] == value
    assert not torch.equal(seen[0], seen[1])
    plain = fit(net(), blobs(60), Single(hb.Linf(0.05)), epochs=1).history[0]
    assert not any(name.startswith("weight") for name in plain)
