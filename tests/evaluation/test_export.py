"""Adversarial points as 8-bit images: inside the threat, judged again, and counted."""

import json

import numpy as np
import pytest
import torch
from tests.helpers.accuracy import SHORT, net
from tests.helpers.oracles import refusal

import hauberk as hb

PIL = pytest.importorskip("PIL.Image")


@pytest.fixture
def model():
    return net()


@pytest.fixture
def inputs(model):
    rng = torch.Generator().manual_seed(4)
    x = torch.randint(0, 256, (24, 3, 2, 2), generator=rng).float() / 255
    return x, model(x).argmax(1)


def test_images_are_inside_and_break_the_model_as_the_file_says(model, inputs, tmp_path):
    x, y = inputs
    run = hb.evaluate(model, x, y, ["linf:16/255", "l2:0.3"], suite=SHORT, out=tmp_path / "run",
                      block=7)  # fmt: skip
    found = hb.export(run, model, tmp_path / "images")
    ids = {t: run.points(t)[0] for t in run.accuracy}
    assert found.points == sum(map(len, ids.values())) > 0
    assert 0 < found.survived <= found.points
    rows = json.loads((tmp_path / "images" / "export.json").read_text())["rows"]
    assert len(rows) == found.points
    for row in rows:
        assert row["id"] in ids[row["threat"]].tolist()
        assert row["allowed"]  # clean images of 8 bits: rounding leaves every ball as it is
        if not row["survived"]:
            assert row["file"] == ""
            continue
        pixels = np.asarray(PIL.open(tmp_path / "images" / row["file"]))
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        clean = x[row["id"]][None]
        assert model(image).argmax(1).item() == row["prediction"] != row["label"]
        assert hb.threat(row["threat"]).contains(clean, image)
    assert found.survived == sum(row["survived"] for row in rows)
    text = str(found)
    assert f"{found.survived} of {found.points} adversarial points survive" in text


def test_arrays_hold_all_points_and_what_became_of_them(model, inputs, tmp_path):
    x, y = inputs
    run = hb.radius(model, x, y, "l2", budget=200, out=tmp_path / "run")
    found = hb.export(tmp_path / "run", model, tmp_path / "arrays", format="npz")
    held = np.load(tmp_path / "arrays" / "l2.npz")
    assert len(held["ids"]) == found.points == int(run.found.sum())
    assert held["survived"].sum() == found.survived < found.points  # the nearest points are at risk
    at = torch.from_numpy(held["ids"])
    assert torch.equal(torch.from_numpy(held["points"]), run.points[at])
    rounded = torch.from_numpy(held["images"]).float() / 255
    wrong = model(rounded).argmax(1) != y[at]
    assert torch.equal(wrong, torch.from_numpy(held["survived"]))
    nearer = (rounded - x[at]).abs() <= (run.points[at] - x[at]).abs() + 1e-6
    assert nearer.all()


def test_goals_and_masks_hold_for_the_images(model, inputs, tmp_path):
    x, y = inputs
    hb.evaluate(model, x, y, "linf:40/255,patch=1x2+0+0", suite=SHORT, goal="target=1",
                out=tmp_path / "run")  # fmt: skip
    hb.export(tmp_path / "run", model, tmp_path / "npz", format="npz")
    (file,) = (tmp_path / "npz").glob("*.npz")
    held = np.load(file)
    assert held["survived"].any()
    assert (held["prediction"][held["survived"]] == 1).all()
    changed = (
        torch.from_numpy(held["images"]).float() / 255 - torch.from_numpy(held["clean"])
    ) != 0
    assert not changed[:, :, 1].any()


def test_what_cannot_be_exported_is_refused_in_one_line(model, inputs, tmp_path):
    x, y = inputs
    table = net(features=6)
    rows = torch.rand(6, 6)
    hb.evaluate(table, rows, table(rows).argmax(1), "linf:0.4", suite=SHORT, out=tmp_path / "table")
    assert "are no images" in refusal(hb.export, tmp_path / "table", table, tmp_path / "a")
    run = hb.evaluate(model, x, y, "linf:0.1", suite=SHORT)
    assert "in memory alone" in refusal(hb.export, run, model, tmp_path / "b")
    hb.evaluate(model, x, y, "linf:0.1", suite=SHORT, out=tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "holds something" in refusal(hb.export, tmp_path / "run", model, tmp_path / "full")
    assert "give png or npz" in refusal(
        hb.export, tmp_path / "run", model, tmp_path / "c", format="gif"
    )
    hb.transfer({"a": model}, x, y, "linf:0.1", hb.attacks.FGSM(), out=tmp_path / "transfer")
    assert "kind transfer cannot" in refusal(
        hb.export, tmp_path / "transfer", model, tmp_path / "d"
    )
