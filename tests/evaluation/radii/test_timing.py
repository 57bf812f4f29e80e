"""The time of a pass in a dry run, by a clock that the model and the projections move."""

import pytest
import torch
from helpers.radii import WIDE, examples, linear

from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import prepare
from hauberk.evaluation.radii import timing
from hauberk.solvers.fmn import FMN
from hauberk.solvers.portfolio import Portfolio
from hauberk.threats.metric import Metric


@pytest.mark.parametrize(("p", "rows"), [(2, 5), (0, 5), (1, 80)])
@pytest.mark.parametrize("solver", [FMN(steps=7), Portfolio()], ids=["fmn", "best"])
def test_the_work_between_passes_counts(monkeypatch, p, rows, solver):
    net = linear(3, dtype=torch.float32)
    x, y = examples(net, n=rows)
    setting = prepare({"net": net}, x, y, RunOptions(box=WIDE))
    now, asked = [0.0], []
    monkeypatch.setattr(timing, "perf_counter", lambda: now[0])
    net.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    for kind in (timing.FMN, timing.SwapSearch):
        step = kind.step

        def slow(self, *args, step=step):
            now[0] += 9.0  # 4 steps of a search of 5 forwards and 4 backwards
            return step(self, *args)

        monkeypatch.setattr(kind, "step", slow)
    each = timing.seconds_per_pass(solver, Metric(p), setting)
    tried = min(rows, timing.MOST)
    assert max(asked) == tried
    assert each == pytest.approx(4 * 9.0 / (9 * tried))
