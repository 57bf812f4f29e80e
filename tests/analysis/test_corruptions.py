"""Accuracy on corruptions against a count by hand, its sums, resuming, and the published files."""

import json

import numpy as np
import pytest
import torch
from helpers.data import digits, scenes
from torch import nn

from hauberk import InputError
from hauberk.analysis import corruption_table
from hauberk.analysis import corruptions as module
from hauberk.analysis.corruptions import mean_interval
from hauberk.data.corruptions import KINDS, Corruption

SOME = {"kinds": ["fog", "gaussian_noise"], "severities": [2, 5]}


class Bright(nn.Module):
    """Class 1 of images whose mean lies above a level."""

    def __init__(self, level=0.5):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        mean = x.flatten(1).mean(1)
        return torch.stack((self.level - mean, mean - self.level), 1)


MODELS = {"low": Bright(0.3), "high": Bright(0.6)}
X = torch.stack([scenes(40).flatten(0, 1)[k] for k in range(40)])[:, None]
Y = (X.mean((1, 2, 3)) > 0.45).long()


def by_hand(model, kind, severity, seed=0, ids=None):
    x = Corruption(kind, severity)(X, ids, seed)
    return (model(x).argmax(1) == Y).numpy()


def test_accuracies_are_those_of_a_count_by_hand():
    ids = torch.arange(40).flip(0) + 7
    found = corruption_table(MODELS, X, Y, **SOME, seed=3, ids=ids, baseline="high")
    right = {
        name: {(k, s): by_hand(m, k, s, 3, ids) for k in SOME["kinds"] for s in SOME["severities"]}
        for name, m in MODELS.items()
    }
    for name in MODELS:
        for (kind, severity), mask in right[name].items():
            assert found.accuracy(name, kind, severity) == mask.mean()
        every = np.stack(list(right[name].values()))
        model = found.summary["models"][name]
        assert found.mean[name] == pytest.approx(every.mean())
        assert model["clean_accuracy"] == (MODELS[name](X).argmax(1) == Y).double().mean()
        assert model["interval"] == pytest.approx(mean_interval(every.mean(0)))
        for kind in SOME["kinds"]:
            own, base = (
                sum((~right[n][kind, s]).mean() for s in SOME["severities"]) for n in (name, "high")
            )
            assert model["kinds"][kind]["ce"] == pytest.approx(own / base)
            assert model["kinds"][kind]["mean"] == pytest.approx(1 - own / 2)
            both = np.stack([right[name][kind, s] for s in SOME["severities"]]).mean(0)
            assert model["kinds"][kind]["interval"] == pytest.approx(mean_interval(both))
        ces = [model["kinds"][kind]["ce"] for kind in SOME["kinds"]]
        assert found.mce[name] == pytest.approx(sum(ces) / 2)
    assert found.mce["high"] == pytest.approx(1)
    assert 0 < found.mean["low"] < 1
    assert found.cost["forwards"] == 2 * 40 * 5
    assert found.summary["n"] == 40


def test_without_a_baseline_there_is_no_corruption_error():
    found = corruption_table(MODELS, X, Y, **SOME)
    assert found.mce == {"low": None, "high": None}


def test_a_baseline_without_errors_gives_none():
    sure = Bright(-1.0)
    ones = torch.ones(len(X), dtype=torch.int64)
    found = corruption_table({"sure": sure, "low": MODELS["low"]}, X, ones, **SOME, baseline="sure")
    assert found.mean["sure"] == 1
    assert found.mce == {"sure": None, "low": None}


def test_all_kinds_and_severities_by_default():
    x, y = digits(10)
    found = corruption_table({"net": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}, x, y)
    kinds = found.summary["models"]["net"]["kinds"]
    assert list(kinds) == list(KINDS)
    assert all(list(kind["severities"]) == ["1", "2", "3", "4", "5"] for kind in kinds.values())


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    out = tmp_path / "run"
    whole = corruption_table(MODELS, X, Y, **SOME)
    made, seen = module.Corruption.__call__, []

    def stops(self, *args):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(str(self))
        return made(self, *args)

    monkeypatch.setattr(module.Corruption, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        corruption_table(MODELS, X, Y, **SOME, out=out)
    monkeypatch.undo()
    assert not (out / "summary.json").exists()
    done = {path.stem for path in (out / "parts").glob("*.parquet")}
    assert done == {"clean", "fog-2", "fog-5"}
    with pytest.raises(InputError, match="--resume"):
        corruption_table(MODELS, X, Y, **SOME, out=out)
    again = corruption_table(MODELS, X, Y, **SOME, out=out, resume=True)
    assert again.summary["models"] == whole.summary["models"]
    assert json.loads((out / "summary.json").read_text())["models"] == whole.summary["models"]
    # What is there is not made again.
    monkeypatch.setattr(module.Corruption, "__call__", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(module, "_made", lambda setting: lambda *cell: None)
    assert corruption_table(MODELS, X, Y, **SOME, out=out, resume=True).mean == whole.mean


def test_a_run_is_resumed_with_the_same_models_only(tmp_path):
    corruption_table({"net": Bright(0.3)}, X, Y, **SOME, out=tmp_path / "r")
    with pytest.raises(InputError, match="weights"):
        corruption_table({"net": Bright(0.4)}, X, Y, **SOME, out=tmp_path / "r", resume=True)
    with pytest.raises(InputError, match="other settings"):
        corruption_table({"net": Bright(0.3)}, X, Y, kinds=["fog"], out=tmp_path / "r", resume=True)


def test_progress_rises_to_the_end():
    seen = []
    corruption_table(MODELS, X, Y, **SOME, progress=lambda event: seen.append(event))
    assert [event.doing for event in seen] == [
        "clean", "fog:2", "fog:5", "gaussian_noise:2", "gaussian_noise:5",
    ]  # fmt: skip
    assert [event.done for event in seen] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kinds": ["fogg"]}, "did you mean fog"),
        ({"severities": [6]}, "1 to 5"),
        ({"kinds": []}, "at least one kind"),
        ({"severities": []}, "at least one kind and one severity"),
        ({"kinds": ["fog", "fog"]}, "given twice"),
        ({"severities": [1, 1]}, "given twice"),
        ({"kinds": ["speckle_noise"]}, "unknown corruption"),
        ({"baseline": "other"}, "one of low, high"),
        ({"files": "nowhere"}, "not a folder"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, change, says):
    with pytest.raises(InputError, match=says):
        corruption_table(MODELS, X, Y, **{**SOME, **change}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_that_cannot_be_corrupted_are_refused(tmp_path):
    with pytest.raises(InputError, match="grey or RGB"):
        corruption_table(MODELS, X[:, 0], Y, **SOME, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Fragile(Bright):
    def forward(self, x):
        sound = (x.flatten(1).amax(1, keepdim=True) < 0.9999).float()
        return super().forward(x) * sound / sound


def test_a_model_that_returns_no_numbers_is_named():
    with pytest.raises(InputError, match=r"thin on impulse_noise-5: .*NaN"):
        corruption_table({"thin": Fragile()}, 0.9 * X, Y, kinds=["impulse_noise"], severities=[5])


# The published files.


@pytest.fixture
def published(tmp_path):
    """Files of 12 images a severity: those of severity s have the level 40 s, image 4 is dark."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    levels = np.repeat(np.arange(1, 6) * 40, 12)
    levels[4::12] = 10
    images = np.broadcast_to(levels[:, None, None, None], (60, 32, 32, 3)).astype(np.uint8)
    np.save(folder / "fog.npy", images)
    np.save(folder / "saturate.npy", images)
    np.save(folder / "labels.npy", np.tile(np.arange(12) % 2, 5))
    return tmp_path


def test_published_files_are_read(published):
    ids = torch.tensor([4, 3, 9, 5])
    x, y = torch.full((4, 3, 32, 32), 0.5), ids % 2
    found = corruption_table(
        {"low": Bright(0.3)}, x, y, kinds=["fog", "saturate"], ids=ids, files=published
    )
    # Dark at severity 1 (40 / 255), where image 4 is right; the others from severity 2 on.
    assert [found.accuracy("low", "fog", s) for s in (1, 2, 5)] == [0.25, 1, 1]
    assert found.summary["images"] == "files"
    assert found.accuracy("low", "saturate", 1) == 0.25


def test_files_of_other_images_are_refused(published):
    x = torch.full((4, 3, 32, 32), 0.5)
    for ids, says in ((torch.arange(4), "labels are not those"), (torch.arange(9, 13), "too few")):
        with pytest.raises(InputError, match=says):
            corruption_table(
                {"low": Bright()}, x, (ids + 1) % 2, kinds=["fog"], ids=ids, files=published
            )


def test_the_interval_of_a_mean():
    values = np.random.default_rng(0).random(50)
    half = 1.959964 * values.std(ddof=1) / 50**0.5
    assert mean_interval(values) == pytest.approx([values.mean() - half, values.mean() + half])
    assert mean_interval(values[:1]) is None
    assert mean_interval(np.array([0.0, 1.0])) == [0, 1]
    assert mean_interval(np.ones(5)) == [1, 1]
