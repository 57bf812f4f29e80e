"""Pictures of galleries: what stands where, in which colour."""

from types import SimpleNamespace

import numpy as np
import pytest

from hauberk.errors import InputError
from hauberk.report.plots import gallery as plots
from hauberk.report.plots.gallery import WRONG, difference, gallery


def found(count=2, channels=1, columns=2):
    rng = np.random.default_rng(0)
    clean = rng.uniform(size=(count, channels, 4, 4))
    exhibits = [
        SimpleNamespace(
            name=f"l{k}:1", points=clean + 0.1 * (k + 1), fooled=[k == 0] * count,
            distance=[0.25 * (k + 1)] * count, predicted=[7 if k == 0 else 3] * count,
        )
        for k in range(columns)
    ]  # fmt: skip
    return SimpleNamespace(
        clean=clean, labels=[3] * count, predicted=[3, 5] * (count // 2) + [3] * (count % 2),
        ids=list(range(10, 10 + count)), exhibits=exhibits,
    )  # fmt: skip


@pytest.fixture
def drawings(monkeypatch):
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, path, title="": kept.append(figure) or path)
    return kept


def test_clean_adversarial_difference(drawings):
    shown = found()
    gallery(shown, "a.png")
    axes = drawings[0].axes
    clean, first, second, blank, under, _ = axes[:6]
    assert np.allclose(clean.images[0].get_array(), shown.clean[0, 0], atol=1 / 63)
    assert np.allclose(
        first.images[0].get_array(), shown.exhibits[0].points[0, 0].clip(0, 1), atol=0.02
    )
    assert not blank.images
    assert under.images[0].get_array().shape == (4, 4, 3)
    # It has become brighter everywhere: all red.
    assert np.allclose(under.images[0].get_array(), [1, 0, 0], atol=1 / 16)
    assert clean.get_title() == "clean\n3"
    assert first.get_title() == "l0:1\n3 as 7, 0.25"
    assert second.get_title() == "l1:1\n3, 0.5"
    assert first.title.get_color() == WRONG
    assert second.title.get_color() == clean.title.get_color() == "black"
    assert clean.get_ylabel() == "example 10"
    wrong = axes[6]
    assert wrong.get_title() == "3 as 5"
    assert wrong.title.get_color() == WRONG
    assert axes[7].get_title() == "3 as 7, 0.25"


def test_the_box_gives_black_and_white(drawings):
    shown = found(1)
    shown.clean = np.array([[[[-2.0, 0.0], [1.0, 2.0]]]])
    shown.exhibits = [SimpleNamespace(**{**vars(shown.exhibits[0]), "points": shown.clean})]
    gallery(shown, "a.png", box=(-2, 2))
    image = drawings[0].axes[0].images[0]
    assert np.allclose(image.get_array(), [[0, 0.5], [0.75, 1]], atol=0.01)
    assert image.norm.vmin == 0
    assert image.norm.vmax == 1


def test_examples_without_a_point_stand(drawings):
    shown = found(1)
    shown.exhibits[0].points = np.full_like(shown.clean, np.nan)
    shown.exhibits[0].fooled = [False]
    gallery(shown, "a.png")
    _, first, second, *_ = drawings[0].axes
    assert first.get_title() == "l0:1\nstands"
    assert not first.images
    assert second.images


def test_differences_are_red_where_brighter_and_blue_where_darker():
    colours = difference(np.array([[2.0, 0.0, -2.0, 1.0]]))[0]
    assert colours.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 1], [1, 0.5, 0.5]]
    colour = np.zeros((3, 1, 2))
    colour[0, 0, 0], colour[2, 0, 1] = 4.0, -2.0
    assert difference(colour).tolist() == [[[1, 0.5, 0.5], [0.5, 0.5, 0.25]]]
    assert difference(np.zeros(6)).tolist() == [[[1, 1, 1]] * 6]


@pytest.mark.parametrize("channels", [1, 3])
def test_files(tmp_path, channels):
    for name in ("a.svg", "a.png"):
        assert 0 < gallery(found(2, channels), tmp_path / name).stat().st_size < 60_000
    with pytest.raises(InputError, match="nothing to draw"):
        gallery(found(0), tmp_path / "b.png")
    with pytest.raises(InputError, match="nothing to draw"):
        gallery(found(1, columns=0), tmp_path / "b.png")
    with pytest.raises(InputError, match="41 examples are too many"):
        gallery(found(41), tmp_path / "b.png")


def test_classes_are_called_by_their_names(drawings):
    shown = found()
    shown.class_names = ["a", "b", "c", "cat", "d", "a very long name indeed"]
    gallery(shown, "a.png")
    axes = drawings[0].axes
    assert axes[0].get_title() == "clean\ncat"
    assert axes[1].get_title() == "l0:1\ncat as 7, 0.25"  # a class beyond the names
    assert axes[6].get_title() == "cat as a very long…"
