"""Finished runs of every kind, opened again: the same results, and rows of them."""

import sys
import types

import numpy as np
import pytest
import torch
from tests.helpers.accuracy import SHORT, data, net

import hauberk as hb
from hauberk.evaluation.accuracy.sizes import at_sizes

STEP = hb.attacks.PGD(loss="cw", steps=3)


def runs(out):
    model, other, x = net(0), net(5), data(12)
    y = model(x).argmax(1)
    yield hb.evaluate(model, x, y, ["linf:0.1", "l2:0.4"], suite=SHORT, out=out / "accuracy")
    yield at_sizes(model, x, y, "l2:0.4", [0.5, 1], suite=SHORT, out=out / "sizes")
    yield hb.radius(model, x, y, "l2", solver=hb.solvers.FMN(steps=10), out=out / "radius")
    yield hb.radius(model, x, y, "linf:0.1 | l2:0.4", budget=60, out=out / "union")
    yield hb.minmax([model, other], x, y, "linf:0.2", attack=STEP, out=out / "minmax")
    yield hb.minmax(model, x, y, "linf:0.2", attack=STEP, group=3, out=out / "groups")
    yield hb.universal(model, x, y, "linf:0.2", epochs=1, minibatch=6, out=out / "universal")
    nets = {"a": model, "b": other}
    yield hb.transfer(nets, x, y, "linf:0.2", hb.attacks.FGSM(), out=out / "transfer")
    yield hb.transfer(nets, x, y, ["linf:0.1"], hb.attacks.FGSM(), out=out / "transfers")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return [(run, hb.load(run.path)) for run in runs(tmp_path_factory.mktemp("runs"))]


def test_a_loaded_run_is_the_result_that_the_function_returned(made):
    for run, again in made:
        assert type(again) is type(run), run
        assert again.table() == run.table()
        assert again.path == run.path
        first, second = run.columns(), again.columns()
        assert list(first) == list(second)
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name], err_msg=f"{run.path} {name}")
    points = {run.path.name: (run, again) for run, again in made}
    run, again = points["accuracy"]
    assert torch.equal(run.points("linf:0.1")[1], again.points("linf:0.1")[1])
    run, again = points["radius"]
    assert torch.equal(run.points, again.points)
    run, again = points["universal"]
    assert torch.equal(run.delta, again.delta)
    assert again.threat == run.threat
    run, again = points["minmax"]
    assert torch.equal(run.weights, again.weights)


def test_rows_are_those_of_the_examples(made):
    rows = {run.path.name: run.columns() for run, _ in made}
    for name, columns in rows.items():
        assert {len(values) for values in columns.values()} == {4 if name == "groups" else 12}
    found = rows["accuracy"]
    assert (found["union"] == (found["linf:0.1"] & found["l2:0.4"])).all()
    assert found["union"].mean() == made[0][0].union_accuracy
    assert not found["union"].all()
    assert (rows["radius"]["distance"] == made[2][0].distance.numpy()).all()
    assert (rows["union"]["distance"] == made[3][0].distance.numpy()).all()
    stands = 1 - rows["universal"]["fooled"].mean()
    assert stands == pytest.approx(made[6][0].summary["accuracy"])


def test_pandas_gets_the_same_columns(made, monkeypatch):
    stand_in = types.SimpleNamespace(DataFrame=dict)
    monkeypatch.setitem(sys.modules, "pandas", stand_in)
    assert list(made[0][0].to_pandas()) == list(made[0][0].columns())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(hb.InputError, match="pip install pandas"):
        made[0][0].to_pandas()


def test_what_is_no_finished_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(hb.InputError, match="does not exist"):
        hb.load(tmp_path / "none")
    model, x = net(), data(4)
    y = model(x).argmax(1)
    out = hb.evaluate(model, x, y, "linf:0.1", suite=SHORT, out=tmp_path / "run").path
    (out / "summary.json").unlink()
    with pytest.raises(hb.InputError, match="not finished"):
        hb.load(out)


def test_a_manifest_of_another_kind_is_named(tmp_path):
    from hauberk.store.ledger import Ledger

    ledger = Ledger.create(tmp_path / "run", {"kind": "toy"})
    ledger.write_summary({})
    with pytest.raises(hb.InputError, match="its kind is 'toy'"):
        hb.load(tmp_path / "run")
