"""The one run: what every kind gets from it, shown on a kind that src knows nothing of."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.models import Of
from helpers.questions import under_noise
from torch import nn

import hauberk as hb
from hauberk.evaluation.core.identity import snapshot
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.prepare import prepare
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.run import manifest_of
from hauberk.evaluation.core.together import open_store, recorded
from hauberk.store.ledger import Ledger, MemoryLedger

COMMON = (
    "id", "label", "threat", "task", "claimed", "broken", "margin", "distance", "forwards",
    "backwards", "row", "seconds",
)  # fmt: skip
HEAD = (
    "hauberk_version", "kind", "n", "clean_accuracy", "clean_interval", "cost", "seed", "device",
    "finished",
    "manifest_sha256", "warnings",
)  # fmt: skip
STRENGTHS = (0.02, 0.3)


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def data(n=11):
    x = torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    y = net()(x).argmax(1)
    y[0] = (y[0] + 1) % 3
    return x, y


def test_a_new_kind_of_run_is_answered():
    x, y = data()
    found = under_noise(net(), x, y, STRENGTHS)
    weak, strong = found.accuracy.values()
    assert found.summary["clean_accuracy"] == pytest.approx(10 / 11)
    assert strong <= weak <= 10 / 11
    assert found.cost["forwards"] == 11 + 2 * 10
    assert (found.path, found.warnings) == (None, [])


def test_a_new_kind_of_run_is_written_as_all_are(tmp_path):
    x, y = data()
    found = under_noise(net(), x, y, STRENGTHS, out=tmp_path / "r", block=4)
    ledger = Ledger.open(found.path)
    assert ledger.keys("clean-") == ["clean-00000", "clean-00001", "clean-00002"]
    for key in ledger.keys("noise-"):
        assert set(ledger.part(key)) == set(COMMON)
    assert set(HEAD) <= set(json.loads((tmp_path / "r" / "summary.json").read_text()))


def test_a_new_kind_of_run_resumes_where_it_stood(tmp_path):
    x, y = data()
    whole = under_noise(net(), x, y, STRENGTHS, block=4)

    def stop(event):
        if event.done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        under_noise(net(), x, y, STRENGTHS, block=4, out=tmp_path / "r", progress=stop)
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "r" / "parts").iterdir()}
    assert 0 < len(kept) < 18
    assert not hb.verify(tmp_path / "r", net()).finished
    again = under_noise(net(), x, y, STRENGTHS, block=4, out=tmp_path / "r", resume=True)
    for name, stamp in kept.items():
        assert (tmp_path / "r" / "parts" / name).stat().st_mtime_ns == stamp
    assert again.accuracy == whole.accuracy
    for key in whole.store.keys(""):
        for name, column in whole.store.part(key).items():
            if name != "seconds":
                np.testing.assert_array_equal(column, again.store.part(key)[name])


def test_a_new_kind_of_run_refuses_another_model(tmp_path):
    x, y = data()
    under_noise(net(), x, y, STRENGTHS, out=tmp_path / "r")
    with pytest.raises(hb.InputError, match="the weights of model 'model' differ"):
        under_noise(net(1), x, y, STRENGTHS, out=tmp_path / "r", resume=True)
    with pytest.raises(hb.InputError, match="strengths"):
        under_noise(net(), x, y, (0.5,), out=tmp_path / "r", resume=True)
    with pytest.raises(hb.InputError, match="block"):
        under_noise(net(), x, y, STRENGTHS, out=tmp_path / "r", resume=True, block=5)


def test_a_new_kind_of_run_is_verified(tmp_path):
    x, y = data()
    found = under_noise(net(), x, y, (0.9,), out=tmp_path / "r", block=4)
    broken = int(found.store.rows("noise-")["broken"].sum())
    assert broken > 0
    checked = hb.verify(tmp_path / "r", net())
    assert checked.ok, str(checked)
    assert (checked.points, checked.confirmed) == (broken, broken)
    assert not hb.verify(tmp_path / "r", net(3)).ok


def test_every_kind_registers_itself():
    assert {"accuracy", "radius", "minmax", "universal", "transfer", "noise"} <= set(Question.kinds)


def test_blocks_of_any_size_give_the_same(tmp_path):
    x, y = data()
    whole = under_noise(net(), x, y, STRENGTHS)
    for size in (1, 3, 50):
        assert under_noise(net(), x, y, STRENGTHS, block=size).accuracy == whole.accuracy
    for bad in (0, -1, 2.5):
        with pytest.raises(hb.InputError, match="block"):
            under_noise(net(), x, y, STRENGTHS, block=bad)


def test_a_model_that_cannot_be_repeated_may_be_resumed(tmp_path):
    """Its decisions change by themselves: that they differ says nothing."""

    def drawing(x):
        noise = np.random.default_rng().normal(size=(len(x), 2))
        return torch.from_numpy(noise) + 3 * x.flatten(1)[:, :2]

    x, y = data()
    y = torch.zeros_like(y)
    options = {"out": tmp_path / "r", "block": 4}
    with pytest.warns(hb.HauberkWarning):
        under_noise(Of(drawing), x, y, STRENGTHS, **options)
    with pytest.warns(hb.HauberkWarning):
        under_noise(Of(drawing), x, y, STRENGTHS, resume=True, **options)


def test_models_are_left_as_they_were():
    model = net().train()
    before = copy.deepcopy(model.state_dict())
    x, y = data()
    under_noise(model, x, y, STRENGTHS)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


class Counting(nn.Module):
    """A linear network that counts its calls."""

    def __init__(self):
        super().__init__()
        self.inner, self.calls = net(), 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x)


def test_a_ledger_says_what_is_asked_of_which_models(tmp_path):
    x, y = data()
    model, other = Counting(), Counting()
    asked = {"kind": "a", "strength": 0.5}
    options = RunOptions(out=tmp_path / "r", seed=3, manifest={"command": ["b"]})
    before = snapshot({"one": model})
    setting = prepare({"one": model}, x, y, options)

    def store(asked=asked, **changed):
        how = replace(options, **changed)
        known = recorded(how)
        return open_store(
            manifest_of(asked, setting, how, [other], before=before, known=known), how
        )

    in_memory = store(out=None)
    assert isinstance(in_memory, MemoryLedger)
    assert not (tmp_path / "r").exists()
    assert store().path == tmp_path / "r"
    written = json.loads((tmp_path / "r" / "manifest.json").read_text())
    for manifest in (in_memory.manifest, written):
        assert {**asked, "command": ["b"], "seed": 3, "n": 11}.items() <= manifest.items()
        # Calls change as the models run, those of a model inside the settings too.
        varies = {name: found["varies"] for name, found in manifest["models"].items()}
        assert varies == {"one": [" calls"], "0": [" calls"]}
    with pytest.raises(hb.InputError, match="resume"):
        store()
    with pytest.raises(hb.InputError, match="strength"):
        store({**asked, "strength": 0.4}, resume=True)
    # What the manifest left out is left out again, whatever has changed by now.
    before["one"] = snapshot({"one": model})["one"]
    store(resume=True)


def test_models_in_the_settings_run_on_two_examples_of_the_first_group():
    x, y = data()
    model, other, seen = net(), net(), []
    setting = prepare({"one": model}, x, y, RunOptions())
    setting = replace(setting, x=torch.stack((x, x)), y=torch.stack((y, y)))
    other.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    manifest_of({}, setting, RunOptions(), [other], before={})
    assert seen == [(2, 1, 2, 2)]
