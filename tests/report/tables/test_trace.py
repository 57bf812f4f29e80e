"""Tables of traces: each number in its column."""

from hauberk.report.tables.trace import table


def curve(name, steps=100, last=3.0):
    mean = [1.0] * steps + [last]
    mean[steps // 10] = 2.0
    best = {"mean": [*[1.0] * steps, 4.0]}
    return {
        "name": name, "loss": "ce", "threat": "l1:2", "steps": steps, "examples": 8,
        "current": {"mean": mean}, "best": best, "broken": [0.0] * steps + [0.25],
    }  # fmt: skip


def test_a_row_a_curve():
    text = str(table({"net": [curve("q=0.8"), curve("q=one", last=2.5)]}))
    head, _, first, second, *notes = text.splitlines()
    assert head.split() == ["step", "0", "step", "10", "step", "100", "best", "broken", "examples"]
    assert first.split() == ["q=0.8", "1", "2", "3", "4", "25.0%", "8"]
    assert second.split() == ["q=one", "1", "2", "2.5", "4", "25.0%", "8"]
    assert "ce under l1:2" in " ".join(notes)


def test_curves_of_several_models_and_lengths():
    text = str(table({"a": [curve("x")], "b": [curve("x", steps=50)]}))
    lines = text.splitlines()
    assert lines[0].split()[:10] == [
        "step",
        "0",
        "step",
        "5",
        "step",
        "10",
        "step",
        "50",
        "step",
        "100",
    ]
    assert lines[2].split() == ["a:", "x", "1", "1", "2", "1", "3", "4", "25.0%", "8"]
    assert lines[3].split() == ["b:", "x", "1", "2", "1", "3", "–", "4", "25.0%", "8"]
