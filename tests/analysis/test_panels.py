"""Series of pictures, from the summaries of runs."""

import pytest

from hauberk.analysis.panels import axis, transferred


def case(whitebox, combined):
    def ends(share):
        return {name: [value - 0.1, value + 0.1] for name, value in share.items()}

    return {
        "whitebox": whitebox, "combined": combined, "whitebox_interval": ends(whitebox),
        "combined_interval": ends(combined),
    }  # fmt: skip


SUMMARY = {
    "clean": {"a": 1.0, "b": 0.9},
    "clean_intervals": {"a": [0.95, 1.0], "b": [0.8, 0.95]},
    "threats": {
        "l2:2": case({"a": 0.5, "b": 0.4}, {"a": 0.3, "b": 0.2}),
        "l2:1": case({"a": 0.7, "b": 0.6}, {"a": 0.6, "b": 0.5}),
        "linf:0.5": case({"a": 0.8, "b": 0.8}, {"a": 0.8, "b": 0.7}),
        "rt:30,3": case({"a": 0.1, "b": 0.1}, {"a": 0.1, "b": 0.1}),
    },
}


def test_transfer_by_norm_and_model():
    made = transferred(SUMMARY)
    assert list(made) == ["l2", "linf"]
    names = ["a, combined", "a, white-box", "b, combined", "b, white-box"]
    for several in made.values():
        assert [one.name for one in several] == names
        assert [one.colour for one in several] == [0, 0, 1, 1]
        assert [one.dashed for one in several] == [False, True, False, True]
    first, white = made["l2"][:2]
    assert first.eps == white.eps == [0.0, 1.0, 2.0]
    assert first.accuracy == [1.0, 0.6, 0.3]
    assert white.accuracy == [1.0, 0.7, 0.5]
    assert first.low == pytest.approx([0.95, 0.5, 0.2])
    assert first.high == pytest.approx([1.0, 0.7, 0.4])
    assert (white.low, white.high) == (None, None)
    assert made["linf"][2].accuracy == [0.9, 0.7]


def test_what_has_no_axis():
    assert axis("linf:8/255") == ("linf", 8 / 255)
    assert axis("l1.5:3") == ("l1.5", 3.0)
    for text in ("rt:30,3", "l2:1 | l1:2", "affine(l2:1,l1:2)", "mine"):
        assert axis(text) is None
