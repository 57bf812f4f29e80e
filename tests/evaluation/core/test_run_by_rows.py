"""A run on inputs that are not in memory: the same run, of which a block is read at a time."""

import numpy as np
import pytest
import torch
from helpers.rows import Rows
from helpers.runs import RUNS, data, net

import hauberk as hb
from hauberk.data.examples import Picked
from hauberk.errors import InputError
from hauberk.store.ledger import Ledger

BLOCK = 5


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("hauberk.data.examples.AT_ONCE", 3 * 16)
    monkeypatch.setattr("hauberk.evaluation.core.prepare.LOOK", 4)


def test_every_kind_of_run_is_the_same_and_reads_a_block_at_a_time(made, tmp_path, request):
    """Down to the last bit, so that the ledger of the one can be resumed with the other."""
    folder, models = made
    ask = RUNS[request.node.callspec.params["made"]][0]
    (x, y), options = data(), {"out": tmp_path / "r", "block": BLOCK, "seed": 3}
    inputs = Rows(x)
    ask(models, inputs, y, **options)
    members = Ledger.open(folder).manifest.get("group") or 1
    assert max(stop - start for start, stop in inputs.windows) <= BLOCK * members
    same(Ledger.open(folder), Ledger.open(tmp_path / "r"))


def same(one, other):
    drop = ("started", "hauberk_version")
    facts = ({k: v for k, v in ledger.manifest.items() if k not in drop} for ledger in (one, other))
    assert next(facts) == next(facts)
    assert one.keys("") == other.keys("")
    for key in one.keys(""):
        parts = one.part(key), other.part(key)
        assert parts[0].keys() == parts[1].keys()
        for name in parts[0].keys() - {"seconds"}:
            np.testing.assert_array_equal(parts[0][name], parts[1][name])
        tensors = one.tensors(key), other.tensors(key)
        assert tensors[0].keys() == tensors[1].keys()
        for name, value in tensors[0].items():
            assert torch.equal(value.nan_to_num(), tensors[1][name].nan_to_num())


def test_a_run_on_other_data_is_refused_before_work_is_lost(tmp_path):
    x, y = data()
    options = {"suite": hb.attacks.FGSM(), "out": tmp_path / "r", "block": BLOCK}
    hb.evaluate(net(), Rows(x), y, hb.Linf(0.1), **options)
    before = sorted((tmp_path / "r").rglob("*"))
    other = x.clone()
    other[-1, 0, 0, 0] = 1 - other[-1, 0, 0, 0]
    with pytest.raises(InputError, match="images_crc"):
        hb.evaluate(net(), Rows(other), y, hb.Linf(0.1), **options, resume=True)
    assert sorted((tmp_path / "r").rglob("*")) == before


@pytest.mark.parametrize(
    ("value", "words"), [(float("nan"), "input 9 holds NaN"), (1.5, "the box")]
)
def test_what_is_wrong_far_behind_is_refused_before_anything_is_written(tmp_path, value, words):
    x, y = data()
    x[9, 0, 1, 1] = value
    with pytest.raises(InputError, match=words):
        hb.evaluate(net(), Rows(x), y, hb.Linf(0.1), suite=hb.attacks.FGSM(), out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_model_that_does_not_fit_is_refused_before_all_is_read():
    x, y = data()
    inputs = Rows(x)
    with pytest.raises(InputError, match="the model fails"):
        hb.evaluate(torch.nn.Linear(3, 3), inputs, y, hb.Linf(0.1), suite=hb.attacks.FGSM())
    assert max(stop for _, stop in inputs.windows) <= 4


def test_what_changes_between_two_readings_is_refused():
    x, y = data()

    class Augmented(Rows):
        def read(self, start, stop):
            return super().read(start, stop) * torch.rand(())

    with pytest.raises(InputError, match="another than when it was first read"):
        hb.evaluate(net(), Augmented(x), y, hb.Linf(0.1), suite=hb.attacks.FGSM())


def test_a_perturbation_is_tested_on_inputs_read_by_rows():
    x, y = data()
    found = hb.universal(net(), x, y, "linf:0.3", epochs=1, minibatch=5)
    inputs = Rows(x)
    here, there = found.test(net(), inputs, y), found.test(net(), x, y)
    assert (here.clean, here.accuracy, here.changed) == (there.clean, there.accuracy, there.changed)
    assert torch.equal(here.wrong, there.wrong)
    assert max(stop - start for start, stop in inputs.windows) <= 4


def test_a_run_is_verified_against_data_read_by_rows(tmp_path):
    x, y = data()
    hb.evaluate(net(), x, y, hb.Linf(0.1), suite=hb.attacks.FGSM(), out=tmp_path / "r", block=BLOCK)

    class Held:
        images, labels, ids = Rows(x), y, torch.arange(12)

    assert hb.verify(tmp_path / "r", net(), data=Held()).ok
    Held.images = Picked(x, torch.tensor([0, 1, 2, 3, 4, 5, 7, 6, 8, 9, 10, 11]))
    problems = hb.verify(tmp_path / "r", net(), data=Held()).problems
    assert problems == ["part clean-00001: example 6 (one of 2) is not the data's input"]
