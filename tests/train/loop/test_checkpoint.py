"""A run that is broken off and resumed ends where an uninterrupted one does."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from hauberk.attacks import PGD
from hauberk.data import load_data
from hauberk.errors import InputError
from hauberk.models import MLP, load_model
from hauberk.train.fit import fit
from hauberk.train.loop import checkpoint
from hauberk.train.strategies.base import Loss, Strategy, cross_entropy

KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from test_checkpoint import net, run

def die(event):
    if event.done > 0.55:
        os.kill(os.getpid(), signal.SIGKILL)

run(net(), sys.argv[1], every_minutes=1e-9, progress=die)
"""


@dataclass(frozen=True, kw_only=True)
class Weighted(Strategy):
    """Attacked, and with tables that the loss depends on: examples seen with a large loss."""

    threat: hb.Linf = hb.Linf(0.05)  # noqa: RUF009  # frozen

    @property
    def threats(self):
        return (self.threat,)

    def begin(self, examples, device):
        seen = torch.zeros(examples, dtype=torch.bool, device=device)
        return {"last": torch.ones(examples, 2, device=device), "seen": seen}

    def loss(self, batch, tables):
        x = batch.attack(PGD(steps=2), self.threat).points
        losses = F.cross_entropy(batch.model(x), batch.y, reduction="none")
        weight = tables["last"][batch.ids, 0]
        tables["last"][batch.ids] = losses.detach().unsqueeze(1).expand(-1, 2)
        tables["seen"][batch.ids] = True
        n = len(x)
        return Loss((losses * weight).mean(), {"weight": weight.mean()}, forwards=n, backwards=n)


@dataclass(frozen=True, kw_only=True)
class Clean(Strategy):
    def loss(self, batch, tables):
        return cross_entropy(batch, batch.x)


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(16, 10),
        )  # fmt: skip

    def forward(self, x):
        return self.body(x)


def net():
    torch.manual_seed(0)
    return Dropped()


def run(model, out, **options):
    settings = {
        "epochs": 3, "minibatch": 32, "optimiser": "sgd", "learning_rate": 0.1, "ema": 0.9,
        "clip": 1.0, "augment": ("pad-crop:1",), "validation": 20, "validate_steps": 3,
        "schedule": [(0, 0.01), (1, 0.1), (3, 0.0)],
    }  # fmt: skip
    data = load_data("digits:train", limit=150)
    return fit(model, data, Weighted(), out=out, **{**settings, **options})


def compare(found, wanted):
    for name, value in wanted.model.state_dict().items():
        assert torch.allclose(found.model.state_dict()[name].double(), value.double(), atol=1e-6)
    assert len(found.history) == len(wanted.history)
    for one, other in zip(found.history, wanted.history, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            if not name.startswith("seconds"):
                assert one[name] == pytest.approx(other[name], abs=1e-6), name


@pytest.fixture(scope="module")
def whole():
    return run(net(), None)


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ("step", "every"), [(0, 1e-9), (3, 1e-9), (5, 60.0), (8, 1e-9), (8, 60.0), (14, 1e-9)]
)
def test_resumed_after_an_exception_it_ends_the_same(tmp_path, whole, step, every):
    def stop(event, after=(step + 1) / 15):
        if event.done > after - 1e-9:
            raise Broken

    with pytest.raises(Broken):
        run(net(), tmp_path, every_minutes=every, progress=stop)
    found = run(net(), tmp_path, resume=True)
    compare(found, whole)


def test_resumed_after_kill_9_it_ends_the_same(tmp_path, whole):
    script = KILLED.format(here=str(Path(__file__).parent))
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert 0 < state["step"] < 15
    assert state["tables"]["seen"].any()
    compare(run(net(), tmp_path / "run", resume=True), whole)


def test_the_files_of_a_run(tmp_path):
    digits = load_data("digits:train", limit=150)
    torch.manual_seed(0)
    found = fit(
        MLP(), digits, Clean(), epochs=4, validation=50, out=tmp_path / "a" / "b",
        learning_rate=0.02,
    )  # fmt: skip
    assert {p for p in found.paths.values() if not p.exists()} == set()
    rows = list(csv.DictReader(found.paths["history"].open()))
    assert [float(r["loss"]) for r in rows] == [r["loss"] for r in found.history]
    assert json.loads(found.paths["summary"].read_text()) == found.summary
    assert "model: hauberk.models.mlp:MLP" in found.paths["model"].read_text()
    again = load_model("hauberk.models.mlp:MLP", found.paths["best"])
    x = digits.images
    assert torch.equal(again(x), found.model(x))
    scores = [r["valid_clean"] for r in found.history]
    right = (again(x[:50]).argmax(1) == digits.labels[:50]).float().mean().item()
    assert right == pytest.approx(max(scores))
    load_model("hauberk.models.mlp:MLP", found.paths["last"])


def test_a_compiled_model_loads_as_what_it_was_made_from(tmp_path):
    digits = load_data("digits:train", limit=40)
    model = MLP()
    compiled = torch.compile(model, backend="eager")
    found = fit(compiled, digits, Clean(), epochs=1, out=tmp_path)
    assert "model: hauberk.models.mlp:MLP" in found.paths["model"].read_text()
    again = load_model("hauberk.models.mlp:MLP", found.paths["best"])
    assert torch.equal(again(digits.images), model(digits.images))


def test_a_finished_run_is_not_trained_again(tmp_path, whole):
    run(net(), tmp_path)
    events = []
    compare(run(net(), tmp_path, resume=True, progress=events.append), whole)
    assert not events


def test_other_settings_are_refused_and_shown(tmp_path):
    run(net(), tmp_path, epochs=1)
    with pytest.raises(InputError, match=r"clip is 2.0 here but 1.0 there.*out"):
        run(net(), tmp_path, epochs=1, clip=2.0, resume=True)
    with pytest.raises(InputError, match="already holds another run"):
        run(net(), tmp_path, epochs=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="no run of hauberk"):
        run(net(), tmp_path / "other", resume=True)
    with pytest.raises(InputError, match="is a file"):
        run(net(), tmp_path / "other" / "thesis.txt")
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(InputError, match="cannot be read"):
        run(net(), tmp_path, epochs=1, resume=True)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch, whole):
    put, written = checkpoint.put, []

    def full(file, data):
        if file.name == "checkpoint.pt":
            written.append(file)
            if len(written) > 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(file, data)

    monkeypatch.setattr(checkpoint, "put", full)
    with pytest.raises(InputError, match=r"No space left on device.*kept: free some space"):
        run(net(), tmp_path)
    monkeypatch.undo()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 5
    compare(run(net(), tmp_path, resume=True), whole)


def maker(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


class Toned(Dropped):
    def __init__(self, tone=1.0):
        super().__init__()
        self.tone = [tone]

    def forward(self, x):
        return super().forward(x) * self.tone[0]


def other_weights():
    torch.manual_seed(1)
    return Dropped()


def toned(tone):
    torch.manual_seed(0)
    return Toned(tone)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("one", "other", "options", "message"),
    [
        (net, other_weights, {}, "the weights of the model are neither"),
        (lambda: toned(1.0), lambda: toned(2.0), {}, "the architecture or code of the model"),
        (net, net, {"optimiser": maker(0.2)}, "the function .* in optimiser is another one"),
    ],
)
def test_another_model_or_optimiser_is_refused(tmp_path, finished, one, other, options, message):
    def stop(event):
        if not finished:
            raise Broken

    with suppress(Broken):
        run(one(), tmp_path, epochs=1, optimiser=maker(0.1), learning_rate=0.1, progress=stop)
    given = {"epochs": 1, "optimiser": maker(0.1), "learning_rate": 0.1, "resume": True} | options
    with pytest.raises(InputError, match=message) as refused:
        run(other(), tmp_path, **given)
    assert "\n" not in str(refused.value)
    run(one(), tmp_path, **{**given, "optimiser": maker(0.1)})


def test_a_model_that_holds_saved_weights_is_resumed_with(tmp_path, whole):
    """Training is in place: the model that was trained is that of the training."""
    model = net()
    run(model, tmp_path)
    compare(run(model, tmp_path, resume=True), whole)


def test_an_interrupted_model_is_resumed_with_but_not_when_changed(tmp_path, whole):
    def stop(event):
        if event.done > 0.1:
            raise Broken

    model = net()
    with pytest.raises(Broken):
        run(model, tmp_path, progress=stop)
    changed = deepcopy(model)
    with pytest.raises(InputError, match=r"as it was at the start .* or load"):
        run(changed, tmp_path, resume=True)
    compare(run(model, tmp_path, resume=True), whole)


def test_other_weights_in_an_interrupted_model_are_refused(tmp_path):
    def stop(event):
        if event.done > 0.1:
            raise Broken

    model = net()
    with pytest.raises(Broken):
        run(model, tmp_path, progress=stop)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(InputError, match="the weights of the model are neither"):
        run(model, tmp_path, resume=True)
