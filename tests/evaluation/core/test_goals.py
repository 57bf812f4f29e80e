"""Runs with a goal: attacks, judge, scheduler, radius, summary and verification keep to it."""

import json

import numpy as np
import pytest
import torch
from tests.helpers.accuracy import SHORT, data, net
from tests.helpers.models import Linear
from tests.helpers.oracles import refusal

import hauberk as hb
from hauberk.maths.norms import norm


@pytest.fixture
def model():
    made = net(0)
    with torch.no_grad():  # as sure as trained ones
        for values in made[3].parameters():
            values *= 30
    return made


@pytest.fixture
def inputs(model):
    x = data(40)
    return x, model(x).argmax(1)


def reached(model, goal, run, threat, y):
    ids, points = run.points(threat)
    z = model(points)
    if goal.startswith("target"):
        return (z.argmax(1) == int(goal.partition("=")[2])).all()
    p = z.softmax(1).scatter(1, y[ids][:, None], 0.0).amax(1)
    return (p >= float(goal.partition(":")[2])).all()


@pytest.mark.parametrize("goal", ["target=2", "confident:0.8"])
def test_what_is_broken_reaches_the_goal_and_is_verified(model, inputs, goal, tmp_path):
    x, y = inputs
    out = tmp_path / "run"
    run = hb.evaluate(model, x, y, ["linf:0.1", "l2:0.4"], suite="fast", goal=goal, out=out)
    plain = hb.evaluate(model, x, y, ["linf:0.1", "l2:0.4"], suite="fast")
    assert 0 < run.union_accuracy < 1
    for threat in run.accuracy:
        assert reached(model, goal, run, threat, y)
    stands = dict(zip(run.ids.tolist(), run.robust().tolist(), strict=True))
    for row, robust in enumerate(plain.robust().tolist()):
        assert not robust or stands.get(row, True)  # what resists every class resists one
    assert run.summary["goal"] == goal
    assert f"goal: {goal}" in run.table()
    out_of_it = int((y == 2).sum()) if goal == "target=2" else 0
    assert run.summary["left_out"] == out_of_it
    assert len(run.ids) == 40 - out_of_it
    assert hb.verify(out, model).ok
    assert hb.load(out).union_accuracy == run.union_accuracy
    again = hb.evaluate(
        model, x, y, ["linf:0.1", "l2:0.4"], suite="fast", goal=goal, out=out, resume=True
    )
    assert again.summary["union_accuracy"] == run.union_accuracy
    with pytest.raises(hb.InputError, match="goal"):
        hb.evaluate(model, x, y, ["linf:0.1", "l2:0.4"], suite="fast", out=out, resume=True)


def test_a_point_that_misses_the_goal_is_refuted(model, inputs, tmp_path):
    hb.evaluate(model, *inputs, "linf:0.1", suite=SHORT, goal="target=2", out=tmp_path / "run")
    file = tmp_path / "run" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["goal"] = "target=1"
    file.write_text(json.dumps(manifest))
    assert hb.verify(tmp_path / "run", model).refuted


def test_right_is_what_has_its_own_label_and_attacks_with_targets_aim_at_the_goal(model, inputs):
    x, y = inputs
    labels = y.clone()
    labels[:5] = (labels[:5] + 1) % 3  # clean mistakes
    suite = {"aimed": hb.attacks.APGD(steps=20, targets=1), "plain": hb.attacks.APGD(steps=20)}
    run = hb.evaluate(model, x, labels, "linf:0.1", suite=suite, goal="target=2", all_attacks=True)
    kept = labels != 2
    assert run.clean_accuracy == (y == labels)[kept].double().mean()
    counts = run.summary["threats"]["linf:0.1"]["attacks"]
    assert counts["aimed"]["broke_alone"] == counts["plain"]["broke_alone"] > 0


def test_a_class_for_each_example_comes_from_a_file(model, inputs, tmp_path):
    x, y = inputs
    target = (y + 1) % 3
    np.save(tmp_path / "t.npy", target.numpy())
    ids = torch.arange(40).flip(0) * 3
    goal = f"target={tmp_path / 't.npy'}"
    run = hb.evaluate(model, x, y, "linf:0.15", suite=SHORT, goal=goal, ids=ids,
                      out=tmp_path / "run", block=7)  # fmt: skip
    found, points = run.points("linf:0.15")
    assert 0 < len(found) < 40
    rows = 39 - found // 3
    assert torch.equal(model(points).argmax(1), target[rows])
    (tmp_path / "t.npy").unlink()
    assert hb.verify(tmp_path / "run", model).ok


def test_radii_are_those_to_the_target_in_closed_form():
    model = Linear(6, 3, seed=1)
    x = torch.rand(8, 6, generator=torch.manual_seed(2))
    y = model(x).argmax(1)
    found = hb.radius(model, x, y, "l2", goal="target=0", budget=600, box=(-99, 99))
    rows = found.ids
    z, w = model(x[rows]).double(), model.weight.double()
    # The least change after which class 0 leads both others: a projection onto two half-spaces.
    expected = []
    for row in range(len(rows)):
        gaps = {k: z[row, k] - z[row, 0] for k in (1, 2)}
        normals = {k: w[:, 0] - w[:, k] for k in (1, 2)}
        options = []
        for k in (1, 2):
            delta = normals[k] * gaps[k] / normals[k].square().sum()
            other = 3 - k
            if (delta * normals[other]).sum() >= gaps[other] - 1e-9:
                options.append(norm(delta[None], 2))
        if not options:
            a = torch.stack([normals[1], normals[2]])
            options.append(norm((torch.linalg.pinv(a) @ torch.stack([gaps[1], gaps[2]]))[None], 2))
        expected.append(torch.cat(options).min())
    torch.testing.assert_close(found.distance, torch.stack(expected).detach(), rtol=2e-3, atol=0)
    assert (model(found.points).argmax(1) == 0).all()
    assert found.summary["goal"] == "target=0"


def test_a_confident_mistake_is_farther_and_as_confident_as_asked(model, inputs):
    x, y = inputs
    near = hb.radius(model, x[:8], y[:8], "l2", budget=300, box=(-9, 9))
    far = hb.radius(model, x[:8], y[:8], "l2", budget=300, box=(-9, 9), goal="confident:0.9")
    assert (far.distance > near.distance).all()
    p = model(far.points).double().softmax(1).scatter(1, y[:8, None], 0.0).amax(1)
    torch.testing.assert_close(p[far.found], torch.full_like(p[far.found], 0.9), rtol=0, atol=0.02)
    assert (p[far.found] >= 0.9 - 1e-6).all()


def test_goals_that_cannot_be_met_are_refused_in_one_line(model, inputs):
    x, y = inputs
    ask = {"suite": SHORT}
    assert "classes 0 to 2" in refusal(hb.evaluate, model, x, y, "linf:0.1", goal="target=3", **ask)
    same = (y == 1).nonzero().squeeze(1)
    assert "already: give others" in refusal(
        hb.evaluate, model, x[same], y[same], "linf:0.1", goal="target=1", **ask
    )
    mask = torch.ones(40, 3, 2, 2)
    assert "leave these examples out" in refusal(
        hb.evaluate, model, x, y, hb.Linf(0.1, mask=mask), goal="target=1", **ask
    )
    assert "soft margin" in refusal(
        hb.radius, model, x, y, "l2", goal="target=1", boundary="soft_margin"
    )
