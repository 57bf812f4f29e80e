"""Pictures of min-max runs: drawn from plain numbers, of any size, and true to them."""

import numpy as np
import pytest
import torch
from helpers.pictures import check_png, check_same, check_svg

from hauberk import InputError
from hauberk.report.plots import minmax as plots

NAN = torch.nan


def path(b=3, t=5, k=4, dtype=torch.float64):
    return torch.rand(b, t, k, dtype=dtype, generator=torch.Generator().manual_seed(0)).softmax(2)


def left_early():
    """Two examples of which the second leaves after its first evaluation."""
    values = path(2, 4, 2)
    values[1, 1:] = NAN
    return values


def history(epochs=3, threats=("linf:0.3", "l2:2", "l1:10")):
    """Records of a training whose weights go from equal ones to the first threat."""
    records = []
    for epoch in range(1, epochs + 1):
        record = {"epoch": epoch, "loss": 1.0}
        for k, name in enumerate(threats):
            middle = 1 / 3 + (0.3 if k == 0 else -0.15) * epoch / epochs
            ends = {"low": -0.1, "q1": -0.05, "median": 0.01, "q3": 0.06, "high": 0.12}
            record |= {f"weight {name}": middle}
            record |= {f"weight {name} {end}": middle + more for end, more in ends.items()}
        records.append(record)
    return records


SHARES = {0: {"a": 0.25, "b": 0.75}, 1: {"a": 1.0, "b": 0.0}}
MANY = {c: {f"domain {k}": 1 / 12 for k in range(12)} for c in range(70)}
VALUES = {"clean": {"a": 1.0, "b": 0.9}, "average": {"a": 0.5, "b": 0.1}}
ODD = {r"$\foo$": 1.0, "_hidden": 0.0}
DRAWN = {
    "weights of odd names": lambda p: plots.weight_paths(path(2, 3, 2), list(ODD), p),
    "binding of odd names": lambda p: plots.binding({"$": ODD}, p),
    "accuracies of odd names": lambda p: plots.accuracies({"_$a$": ODD}, p),
    "weights": lambda p: plots.weight_paths(path(), list("abcd"), p),
    "weights in float32": lambda p: plots.weight_paths(path().float(), list("abcd"), p, "title"),
    "weights that stop": lambda p: plots.weight_paths(left_early(), ["a", "b"], p),
    "one evaluation": lambda p: plots.weight_paths(path(3, 1, 2), ["a", "b"], p),
    "one domain": lambda p: plots.weight_paths(torch.ones(2, 3, 1), ["a"], p),
    "weights of nobody": lambda p: plots.weight_paths(torch.zeros(0, 0, 2), ["a", "b"], p),
    "nothing but NaN": lambda p: plots.weight_paths(torch.full((2, 3, 2), NAN), ["a", "b"], p),
    "many domains": lambda p: plots.weight_paths(path(3, 5, 30), [f"d {k}" for k in range(30)], p),
    "binding": lambda p: plots.binding(SHARES, p, "title"),
    "binding of many": lambda p: plots.binding(MANY, p),
    "binding of other domains": lambda p: plots.binding({0: {"a": 1.0}, "x": {"b": 1.0}}, p),
    "binding of no domain": lambda p: plots.binding({0: {}}, p),
    "boxes": lambda p: plots.weight_boxes(history(), p, "title"),
    "boxes of many epochs": lambda p: plots.weight_boxes(history(50), p),
    "boxes of a CSV file": lambda p: plots.weight_boxes(
        [{k: str(v) for k, v in r.items()} for r in history()], p
    ),
    "accuracies": lambda p: plots.accuracies(VALUES, p, "title"),
    "accuracies of many": lambda p: plots.accuracies({"a": dict.fromkeys(range(40), 1.0)}, p),
    "accuracies with gaps": lambda p: plots.accuracies({"clean": {"a": 1}, "minmax": {"b": 0}}, p),
    "accuracies of no domain": lambda p: plots.accuracies({"clean": {}}, p),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_draws_a_small_png(tmp_path, name):
    check_png(DRAWN[name], tmp_path)


@pytest.mark.parametrize("name", ["weights", "boxes", "binding", "accuracies"])
def test_draws_svg_and_the_same_numbers_give_the_same_png(tmp_path, name):
    check_svg(DRAWN[name], tmp_path)
    check_same(DRAWN[name], tmp_path)


def drawn(monkeypatch, tmp_path, draw):
    """The axes that a picture was drawn on."""
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, file: kept.append(figure) or file)
    draw(tmp_path / "figure.png")
    return kept[0].axes[0]


def test_who_has_left_keeps_the_last_weights(monkeypatch, tmp_path):
    values = left_early()
    axes = drawn(monkeypatch, tmp_path, lambda p: plots.weight_paths(values, ["a", "b"], p))
    a, b, still = axes.get_lines()
    kept = values.clone()
    kept[1, 1:] = kept[1, 0]
    assert np.allclose(a.get_ydata(), kept[:, :, 0].mean(0))
    assert np.allclose(b.get_ydata(), kept[:, :, 1].mean(0))
    assert still.get_ydata().tolist() == [1, 0.5, 0.5, 0.5]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    quarters = torch.quantile(kept[:, :, 0], torch.tensor([0.25, 0.75]).double(), 0)
    assert np.isclose(band.min(), quarters.min())
    assert np.isclose(band.max(), quarters.max())


def test_every_domain_is_in_the_legend(monkeypatch, tmp_path):
    values = path(2, 3, 2)
    axes = drawn(monkeypatch, tmp_path, lambda p: plots.weight_paths(values, ["_a", "b"], p))
    labels = [text.get_text().strip() for text in axes.figure.legends[0].get_texts()]
    assert labels == ["_a", "b"]


def test_evaluations_that_nobody_made_are_not_drawn(monkeypatch, tmp_path):
    values = torch.cat((path(2, 3, 2), torch.full((2, 13, 2), NAN)), 1)
    axes = drawn(monkeypatch, tmp_path, lambda p: plots.weight_paths(values, ["a", "b"], p))
    assert [len(line.get_ydata()) for line in axes.get_lines()] == [3, 3]


def test_the_eight_heaviest_domains_are_drawn(monkeypatch, tmp_path):
    values = torch.arange(1, 11).double().expand(2, 3, 10) / 55
    names = [f"d{k}" for k in range(10)]
    axes = drawn(monkeypatch, tmp_path, lambda p: plots.weight_paths(values, names, p))
    assert [line.get_label() for line in axes.get_lines()] == names[2:]
    assert axes.get_title() == "8 of 10 domains"


def test_bars_of_a_class_stack_to_its_whole(monkeypatch, tmp_path):
    axes = drawn(monkeypatch, tmp_path, lambda p: plots.binding(MANY, p))
    tops = np.zeros(len(MANY))
    for bars in axes.containers:
        for place, bar in enumerate(bars):
            assert np.isclose(bar.get_y(), tops[place])
            tops[place] += bar.get_height()
    assert np.allclose(tops, 100)
    assert len(axes.containers) == 8
    assert axes.containers[-1].get_label() == "5 others"


def test_domains_that_are_never_hardest_are_among_the_others(monkeypatch, tmp_path):
    shares = {0: dict.fromkeys("abcdefgh", 0.0) | {"c": 1.0}, 1: {"b": 1.0}}
    axes = drawn(monkeypatch, tmp_path, lambda p: plots.binding(shares, p))
    assert [bars.get_label() for bars in axes.containers] == ["b", "c", "6 others"]


def test_accuracies_are_as_long_as_they_are(monkeypatch, tmp_path):
    axes = drawn(monkeypatch, tmp_path, lambda p: plots.accuracies(VALUES, p))
    long = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert long == {"clean": [100, 90], "average": [50, 10]}
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda p: plots.weight_paths(path(), ["a"], p / "a.png"), "for 1 names"),
        (lambda p: plots.weight_paths(path()[0], list("abcd"), p / "a.png"), "give \\(B, T, 4\\)"),
        (lambda p: plots.weight_paths(path(), list("abcd"), p / "a.pdf"), "ends in .png or .svg"),
        (lambda p: plots.binding({}, p / "a.png"), "no class to draw"),
        (lambda p: plots.accuracies({}, p / "a.png"), "no accuracy to draw"),
    ],
)
def test_refuses_what_it_cannot_draw(tmp_path, draw, said):
    with pytest.raises(InputError, match=said):
        draw(tmp_path)


@pytest.fixture
def kept(monkeypatch):
    """The figures that were to be written."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    return figures


def test_boxes_show_the_five_numbers_and_the_mean(kept):
    records = history(2, ("linf:0.3", "l2:2"))
    plots.weight_boxes(records, "a.png")
    (axes,) = kept[0].axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2"]
    assert len(axes.patches) == 4  # boxes, by threat and in it by epoch
    for patch, (name, record) in zip(
        axes.patches, [(n, r) for n in ("linf:0.3", "l2:2") for r in records], strict=True
    ):
        heights = patch.get_path().vertices[:, 1]
        ends = [record[f"weight {name} {end}"] for end in ("q1", "q3")]
        assert [min(heights), max(heights)] == pytest.approx(ends)
    drawn = {round(float(y), 9) for line in axes.lines for y in line.get_ydata()}
    for record in records:
        for name in ("linf:0.3", "l2:2"):
            for end in ("", " low", " median", " high"):
                assert round(record[f"weight {name}{end}"], 9) in drawn


def test_sixteen_of_many_epochs_are_drawn(kept):
    plots.weight_boxes(history(31), "a.png")
    ticks = [text.get_text() for text in kept[0].axes[0].get_xticklabels()]
    assert ticks == [str(epoch) for epoch in range(1, 32, 2)]


def test_a_history_without_weights_is_refused():
    for records in ([], [{"epoch": 1, "loss": 1.0}], [{"epoch": 1, "weight l2:1": 1.0}]):
        with pytest.raises(InputError, match="train by AMPGD"):
            plots.weight_boxes(records, "a.png")
