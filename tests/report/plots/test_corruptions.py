"""The picture of corruptions: small, the same for the same numbers, another for others."""

import copy

import pytest
from helpers.pictures import check_png, check_same, check_svg

from hauberk import InputError
from hauberk.report.plots import corruptions as module
from hauberk.report.plots.corruptions import corruptions

KIND = {"mean": 0.6, "severities": {"1": 0.8, "5": 0.4}}
SUMMARY = {
    "kinds": ["fog", "glass_blur"],
    "severities": [1, 5],
    "models": {
        name: {"clean_accuracy": 0.9, "kinds": {"fog": KIND, "glass_blur": KIND}} for name in "ab"
    },
}


def draw(path):
    return corruptions(SUMMARY, path)


def test_draws_a_small_png(tmp_path):
    check_png(draw, tmp_path)
    check_same(draw, tmp_path)


def test_draws_a_small_svg(tmp_path):
    check_svg(draw, tmp_path)
    assert draw(tmp_path / "a.svg").stat().st_size < 60_000


@pytest.mark.parametrize("what", ["clean", "mean", "severity"])
def test_every_number_is_drawn(tmp_path, what):
    other = copy.deepcopy(SUMMARY)
    model = other["models"]["b"]
    if what == "clean":
        model["clean_accuracy"] = 0.5
    elif what == "mean":
        model["kinds"]["fog"]["mean"] = 0.1
    else:
        model["kinds"]["fog"]["severities"]["5"] = 0.1
    one, two = draw(tmp_path / "a.png"), corruptions(other, tmp_path / "b.png")
    assert one.read_bytes() != two.read_bytes()


def test_what_stands_where(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(module, "save", lambda figure, path, title: figures.append(figure))
    models = {
        "a": {
            "clean_accuracy": 0.9,
            "kinds": {
                "fog": {"mean": 0.6, "severities": {"1": 0.8, "5": 0.4}},
                "glass_blur": {"mean": 0.3, "severities": {"1": 0.6, "5": 0.0}},
            },
        }
    }
    corruptions({**SUMMARY, "models": models}, tmp_path / "a.png")
    left, right = figures[0].axes
    assert left.lines[0].get_xydata().tolist() == [[60, 0], [30, 1]]
    assert [text.get_text() for text in left.get_yticklabels()] == ["fog", "glass blur"]
    assert right.lines[0].get_xydata().tolist() == [[0, 90], [1, pytest.approx(70)], [5, 20]]


def test_no_models(tmp_path):
    with pytest.raises(InputError, match="at least one model"):
        corruptions({**SUMMARY, "models": {}}, tmp_path / "a.png")
