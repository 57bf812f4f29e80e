"""Two processes walk the path of one."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hauberk.machines.launch import launch
from hauberk.train.loop.processes import Processes

SCRIPT = """
import json, os, sys
from dataclasses import dataclass
import torch
from torch.nn import functional as F
import hauberk as hb
from hauberk.attacks import PGD
from hauberk.errors import InputError
from hauberk.data import load_data
from hauberk.models import MLP
from hauberk.train.strategies.base import Loss, Strategy
from hauberk.train.fit import fit


@dataclass(frozen=True, kw_only=True)
class Weighted(Strategy):
    @property
    def threats(self):
        return (hb.Linf(0.05),)

    def describe(self):
        return {"name": "weighted"}

    def begin(self, examples, device):
        seen = torch.zeros(examples, dtype=torch.bool)
        return {"last": torch.ones(examples, 2), "seen": seen}

    def loss(self, batch, tables):
        if batch.step == int(os.environ.get("UNTIL", 99)):
            raise KeyboardInterrupt
        # The whole table decides, so every process must know all rows.
        scale = tables["last"].mean() + tables["seen"].float().mean()
        tables["seen"][batch.ids] = True
        x = batch.attack(PGD(steps=2), hb.Linf(0.05)).points
        losses = F.cross_entropy(batch.model(x), batch.y, reduction="none")
        clean = F.cross_entropy(batch.model(batch.x), batch.y)
        tables["last"][batch.ids, 0] = losses.detach()
        logs = {"worst": losses.detach().mean()}
        n = 2 * len(x)
        return Loss(scale * losses.mean() + clean, logs, forwards=n, backwards=n)


def train(strategy, out, resume=False):
    torch.manual_seed(int(os.environ.get("RANK", 0)))  # the first process's weights count
    return fit(
        MLP((64, 16, 10)), load_data("digits:train", limit=128), strategy, epochs=3, minibatch=15,
        validation=20, validate_steps=3, ema=0.9, clip=1.0, learning_rate=0.01, out=out,
        every_minutes=1e-9, optimiser="sgd", resume=resume,
    )


found = train(Weighted(), sys.argv[1])
os.environ["UNTIL"] = "13"
try:
    train(Weighted(), sys.argv[1] + "broken")
except KeyboardInterrupt:
    os.environ["UNTIL"] = "99"
    again = train(Weighted(), sys.argv[1] + "broken", resume=True)
try:
    fit(MLP(), load_data("digits:train"), Weighted(), epochs=1, out=sys.argv[1])
except InputError as error:
    refused = str(error)
weights = {k: v.tolist() for k, v in found.model.state_dict().items()}
resumed = {k: v.tolist() for k, v in again.model.state_dict().items()}
outcomes = {
    "history": found.history, "weights": weights, "refused": refused, "resumed": resumed,
    "losses": [record["loss"] for record in again.history],
}
with open(f"{sys.argv[2]}.{os.environ.get('RANK', 0)}", "w") as stream:
    json.dump(outcomes, stream)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    (folder / "script.py").write_text(SCRIPT)
    found = []
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        for n in (1, 2):
            arguments = [folder / "script.py", folder / f"out{n}", folder / f"outcomes{n}"]
            assert launch([str(a) for a in arguments], n) == 0
            found.append([json.loads(Path(f"{arguments[2]}.{r}").read_text()) for r in range(n)])
    finally:
        os.environ.clear()
        os.environ.update(before)
    return found


@pytest.mark.slow
def test_two_processes_give_the_losses_and_weights_of_one(outcomes):
    # 108 examples by 15: the last minibatch has three, and no share is of one: one has none.
    (one,), two = outcomes
    for other in two:
        for name, value in one["weights"].items():
            wanted = torch.tensor(value)
            assert torch.allclose(torch.tensor(other["weights"][name]), wanted, atol=1e-5)
        assert len(other["history"]) == 3
        for a, b in zip(one["history"], other["history"], strict=True):
            assert a.keys() == b.keys()
            for name in a:
                if not name.startswith("seconds"):
                    assert b[name] == pytest.approx(a[name], abs=1e-5), name


@pytest.mark.slow
def test_broken_off_and_resumed_they_end_the_same(outcomes):
    for found in (found for group in outcomes for found in group):
        for name, value in found["weights"].items():
            wanted = torch.tensor(value)
            assert torch.allclose(torch.tensor(found["resumed"][name]), wanted, atol=1e-6)
        wanted = [record["loss"] for record in found["history"]]
        assert found["losses"] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.slow
def test_an_error_of_the_first_process_reaches_all(outcomes):
    assert all("already holds another run" in t["refused"] for group in outcomes for t in group)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_no_share_of_a_process_is_of_one_example(world):
    for n in range(1, 30):
        shares = Processes.shares(SimpleNamespace(world=world), torch.arange(n))
        assert len(shares) == world
        assert torch.equal(torch.cat(shares), torch.arange(n))
        assert 1 not in map(len, shares) or n == 1
        assert max(map(len, shares)) == len(shares[0])
