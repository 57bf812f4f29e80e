"""Galleries: points of attacks and runs, mixtures share by share, differences and norms."""

import numpy as np
import pytest
import torch
from helpers.models import Linear

import hauberk as hb
from hauberk import L1, L2, Affine, FiniteSet, Linf, threat
from hauberk.analysis.gallery import Exhibit, Gallery, apart, gallery, gallery_of_run
from hauberk.attacks import FGSM, PGD, MixturePGD
from hauberk.errors import InputError


def case(n=6, seed=0):
    x = torch.rand(n, 1, 4, 5, generator=torch.Generator().manual_seed(seed))
    model = Linear(20, 3)
    return model, x, model(x).argmax(1)


def test_a_column_is_what_the_attack_found():
    model, x, y = case()
    y[0] = (y[0] + 1) % 3  # the model is wrong here
    attack = PGD(steps=5, random_start=False)
    found = gallery(model, x, y, [Linf(0.05), L2(0.9)], attack, ids=torch.arange(6) + 10)
    assert [e.name for e in found.exhibits] == ["linf:0.05", "l2:0.9"]
    assert found.ids.tolist() == list(range(10, 16))
    assert torch.equal(found.predicted, model(x).argmax(1))
    for place, ball in enumerate((Linf(0.05), L2(0.9))):
        outcome, shown = attack(model, x, y, ball), found.exhibits[place]
        assert torch.equal(shown.points, outcome.points)
        assert torch.equal(shown.fooled, outcome.fooled)
        assert torch.equal(shown.distance, outcome.distance)
        assert torch.equal(shown.predicted, model(outcome.points).argmax(1))
        delta = outcome.points - x
        assert torch.equal(found.differences(place), delta)
        flat = delta.flatten(1).double().numpy()
        norms = found.norms(place)
        assert np.allclose(norms["linf"], np.abs(flat).max(1))
        assert np.allclose(norms["l2"], np.sqrt((flat**2).sum(1)))
        assert np.allclose(norms["l1"], np.abs(flat).sum(1))
        assert np.allclose(norms["l0"], (flat != 0).sum(1))
    shown = found.to_dict()
    assert shown["columns"][1]["norms"]["l2"] == found.norms(1)["l2"].tolist()
    assert shown["ids"] == list(range(10, 16))


def test_a_mixture_has_a_column_for_each_share():
    mixture = Affine(Linf(0.2), L1(3.0))
    parts = apart(mixture)
    assert [part.betas for part in parts] == [(1.0,), (0.75,), (0.5,), (0.25,), (0.0,)]
    assert [part.variants for part in parts] == [1] * 5
    assert list(map(str, apart(threat("linf:0.3|l1:10")))) == ["linf:0.3", "l1:10"]
    model, x, y = case()
    y = (y + 1) % 3  # so that every point is the last of its run
    found = gallery(model, x, y, [mixture], FGSM(), shares=(1, 0.5, 0))
    first, half, last = (found.norms(place) for place in range(3))
    assert (first["linf"] <= 0.2 + 1e-6).all()
    assert (last["l1"] <= 3.0 + 1e-5).all()
    found = gallery(model, x, model(x).argmin(1), [mixture], MixturePGD(restarts=1, steps=20))
    assert len(found.exhibits) == 5
    assert half["linf"].shape == (6,)


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
def test_a_share_alone_is_that_mixture(beta):
    """Its points lie in the mixture, and as far in each part as the share allows."""
    model, x, y = case()
    alone = Affine(Linf(0.2), L1(3.0)).only(beta)
    assert str(alone) == f"{beta:g} linf:0.2 + {1 - beta:g} l1:3"
    found = PGD(steps=30)(model, x, y, alone, stop=False)
    region = alone.at(x)
    assert bool(region.contains(found.points, found.witness).all())
    assert found.each.shape[1] == 1
    delta = (found.points - x).flatten(1)
    if beta == 1:
        assert torch.allclose(delta.abs().amax(1), torch.tensor(0.2), atol=1e-4)
    if beta == 0:
        assert torch.allclose(delta.abs().sum(1), torch.tensor(3.0), atol=1e-3)
    if beta == 0.25:
        # What an linf part of 0.05 cannot change, an l1 part of 2.25 must have.
        beyond = (delta.abs() - 0.05).clamp_min(0).sum(1)
        assert (beyond <= 2.25 + 1e-3).all()
        assert (beyond > 1).all()
    halved = alone.scaled(0.5)
    assert halved.betas == (beta,)
    assert repr(halved).endswith(f".only({beta:g})")
    assert alone != Affine(Linf(0.2), L1(3.0))
    with pytest.raises(InputError, match="give a share in"):
        alone.only(1.5)


def test_a_share_of_a_finite_set_holds_the_members_that_it_allows():
    flips = FiniteSet([lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: -x], name="flips")
    mixture = Affine(flips, L1(1.0))
    assert mixture.only(1.0).pins == (0, 1, 2, 3)
    assert mixture.only(0.5).pins == (0, 1)
    assert mixture.only(0.75).pins == (0, 1, 2)
    assert mixture.only(0.0).pins == (0,)
    assert mixture.only(0.75).betas == (0.75,) * 3


def by_hand():
    points = torch.zeros(5, 1, 2, 2)
    columns = [
        Exhibit(
            name=name, points=points + k, fooled=torch.tensor(fooled),
            distance=torch.arange(5.0).double(), predicted=torch.arange(5) + k,
        )
        for k, (name, fooled) in enumerate(
            [("a", [True, False, True, True, False]), ("b", [True, False, True, False, True])]
        )
    ]  # fmt: skip
    labels = torch.tensor([1, 1, 1, 1, 1])
    predicted = torch.tensor([0, 1, 1, 1, 1])
    return Gallery(
        ids=torch.arange(5) + 20, labels=labels, clean=points, predicted=predicted, exhibits=columns
    )


def test_the_best_are_right_and_broken_most():
    found = by_hand()
    assert found.best(1).ids.tolist() == [22]
    assert found.best(3).ids.tolist() == [22, 23, 24]
    assert found.best(9).ids.tolist() == [20, 21, 22, 23, 24]
    some = found.take(torch.tensor([3, 2]))
    assert some.ids.tolist() == [23, 22]
    assert some.exhibits[1].predicted.tolist() == [4, 3]
    assert some.exhibits[0].distance.tolist() == [3, 2]
    assert some.exhibits[0].fooled.tolist() == [True, True]
    assert some.exhibits[1].fooled.tolist() == [False, True]
    with pytest.raises(InputError, match="give 1 or more"):
        found.best(0)


def test_what_cannot_be_shown():
    model, x, y = case()
    with pytest.raises(InputError, match="no threat"):
        gallery(model, x, y, [])


def test_the_points_of_a_run(tmp_path):
    model, x, y = case(12)
    y[:2] = (y[:2] + 1) % 3
    result = hb.evaluate(
        model,
        x,
        y,
        threat("linf:0.05|l1:0.9|linf:0.0001"),
        suite=PGD(steps=5),
        out=tmp_path / "run",
        block=5,
    )
    found = gallery_of_run(tmp_path / "run", model)
    assert torch.equal(found.clean, x)
    assert torch.equal(found.labels, y)
    assert torch.equal(found.predicted, model(x).argmax(1))
    assert {e.name for e in found.exhibits} == {"linf:0.05", "l1:0.9", "linf:0.0001"}
    for shown in found.exhibits:
        standing = round(12 * result.accuracy[shown.name])
        assert int(shown.fooled.sum()) == 12 - 2 - standing
        hit = shown.fooled
        assert torch.equal(shown.predicted[hit], model(shown.points[hit]).argmax(1))
        assert bool((shown.predicted[hit] != y[hit]).all())
        assert bool((shown.predicted[~hit] == -1).all())
        assert bool(shown.points[~hit].isnan().all())
        ball = threat(shown.name)
        measured = ball.at(x).distance(shown.points)[hit]
        assert torch.allclose(measured, shown.distance[hit])
        assert bool(shown.distance[~hit].isnan().all())
    broken = {e.name: int(e.fooled.sum()) for e in found.exhibits}
    assert broken["linf:0.0001"] == 0 < min(broken["linf:0.05"], broken["l1:0.9"])
    blind = gallery_of_run(tmp_path / "run")
    assert all(bool((e.predicted == -1).all()) for e in blind.exhibits)
    assert 0 < len(found.best(3)) <= 3
    assert bool((found.best(3).predicted == found.best(3).labels).all())


def test_of_several_points_of_a_run_the_first_counts(tmp_path):
    model, x, y = case(8)
    first, second = FGSM(), PGD(steps=9, random_start=True)
    both = {"one": first, "two": second}
    hb.evaluate(model, x, y, L2(1.2), suite=both, all_attacks=True, out=tmp_path / "both")
    hb.evaluate(model, x, y, L2(1.2), suite=first, out=tmp_path / "one")
    found, alone = (gallery_of_run(tmp_path / name).exhibits[0] for name in ("both", "one"))
    hit = alone.fooled
    assert bool(hit.any())
    assert torch.equal(found.points[hit], alone.points[hit])
    assert torch.equal(found.distance[hit], alone.distance[hit])


def test_the_points_of_radii(tmp_path):
    model, x, y = case()
    hb.radius(model, x, y, ["l2", "linf"], solver="fab", budget=60, out=tmp_path / "radii")
    found = gallery_of_run(tmp_path / "radii", model)
    assert {e.name for e in found.exhibits} == {"l2", "linf"}
    for shown in found.exhibits:
        assert bool(shown.fooled.all())
        assert bool((model(shown.points).argmax(1) != y).all())


def test_runs_without_points(tmp_path):
    model, x, y = case()
    hb.minmax(model, x, y, "linf:0.1", attack=PGD(steps=2), out=tmp_path / "minmax")
    with pytest.raises(InputError, match="a run of kind minmax"):
        gallery_of_run(tmp_path / "minmax")
    hb.evaluate(model, x, y, Linf(1e-6), suite=PGD(steps=1), out=tmp_path / "none")
    with pytest.raises(InputError, match="no point that broke"):
        gallery_of_run(tmp_path / "none")
    with pytest.raises(InputError, match="does not exist"):
        gallery_of_run(tmp_path / "absent")
