import pytest
from helpers.pictures import check_png, check_same, check_svg

from hauberk import InputError
from hauberk.report.plots import price as plots


def run(linf, rt, union):
    mean = (linf + rt) / 2
    return {
        "threats": {"linf:0.3": linf, "rt:30,3": rt},
        "union_accuracy": union,
        "average_accuracy": mean,
    }


FOUND = {
    "best": {"linf:0.3": 0.9, "rt:30,3": 0.8}, "optimum_union": 0.8, "optimum_average": 0.85,
    "price": {"$max$": {}, "inf": {}}, "single": ["inf"],
    "runs": {"$max$": run(0.7, 0.6, 0.5), "inf": run(0.9, 0.1, 0.1)},
}  # fmt: skip


@pytest.mark.parametrize("check", [check_png, check_svg, check_same])
def test_draws_a_small_picture(check, tmp_path):
    check(lambda path: plots.price(FOUND, path, title="a $title$"), tmp_path)


def test_bars_are_accuracies_and_lines_optima(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path, title="": figures.append(figure))
    plots.price(FOUND, "a.png")
    (axes,) = figures[0].axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([70, 60, 50, 65])
    assert [line.get_ydata()[0] for line in axes.lines] == pytest.approx([90, 80, 80, 85])
    plots.price({**FOUND, "single": []}, "a.png")
    assert len(figures[1].axes[0].patches) == 8


def test_nothing_to_draw():
    with pytest.raises(InputError, match="no model"):
        plots.price({**FOUND, "price": {}}, "a.png")


@pytest.mark.parametrize("check", [check_png, check_svg, check_same])
def test_several_panels(check, tmp_path):
    check(lambda path: plots.panels({"one": FOUND, "$two$": FOUND, "three": FOUND}, path), tmp_path)


def test_panels_are_named_and_drawn_alike(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path, title="": figures.append(figure))
    plots.panels({"one": FOUND, "two": {**FOUND, "single": []}, "three": FOUND}, "a.png")
    one, two, three, last = figures[0].axes
    assert [axes.get_title() for axes in (one, two, three)] == ["one", "two", "three"]
    assert [len(axes.patches) for axes in (one, two, three, last)] == [4, 8, 4, 0]
    with pytest.raises(InputError, match="no prices"):
        plots.panels({}, "a.png")
