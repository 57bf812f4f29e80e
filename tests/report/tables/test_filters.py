"""The table of filters: each number in its column."""

from hauberk.report.tables.filters import table


def panel(thresholds, standardised=False):
    rows = [{"a": a, "t": t} for a, t in thresholds]
    return {
        "layer": "conv1", "filters": 32, "count": len(rows), "thresholds": rows, "single": 0.9,
        "standardised": standardised,
    }  # fmt: skip


def test_filters():
    some = [(1.34, 0.3), (0.86, 0.7), (-0.6, -0.2)] + [(0.1, 0.3)] * 5
    panels = {"a": panel(some), "b": panel([], True), "c": panel([(1, 0.3)])}
    lines = str(table(panels)).splitlines()
    assert " ".join(lines[0].split()) == "layer filters one weight their thresholds"
    assert lines[2].split() == ["a", "conv1", "32", "8", "-0.2", "to", "0.7"]
    assert lines[3].split() == ["b", "conv1", "32", "0", "–"]
    assert lines[4].split() == ["c", "conv1", "32", "1", "0.3"]
    text = " ".join(lines[5:])
    assert "has 90% of" in text
    assert "a: 1.34 (x - 0.3), 0.86 (x - 0.7), -0.6 (x + 0.2)" in text
    assert "and 2 more" in text
    assert "b: t is in units of the image after" in text
    assert "b: 1" not in text
