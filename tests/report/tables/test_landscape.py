"""Tables of planes and segments: each number in its column."""

from hauberk.report.tables.landscape import planes, segments


def test_planes():
    found = {
        "example": 7, "cosine": 0.125, "fooled": [False, False, True],
        "ends": {"ce": [0.5, 1.5, 2.5], "margin": [-3.0, -2.0, 1.0]},
        "jump": {"ce": {"gradient": 0.25, "free": 0.75}, "margin": {"gradient": 0.1, "free": None}},
    }  # fmt: skip
    lines = str(planes({("net", "l1:2"): found})).splitlines()
    assert lines[0].split() == [
        "example",
        "clean",
        "gradient",
        "free",
        "cosine",
        "jump",
        "jump",
        "free",
    ]
    assert lines[2].split() == ["net,", "l1:2", "7", "0.5", "1.5", "2.5*", "0.12", "0.25", "0.75"]
    margin = str(planes({("", "l1:2"): found}, "margin")).splitlines()
    assert margin[2].split() == ["l1:2", "7", "-3", "-2", "1*", "0.12", "0.10", "–"]


def test_segments():
    found = {
        "rows": [1, 4], "given": 6, "correct": 5, "rise": 1.5, "share": 0.25, "bend": 0.125,
    }  # fmt: skip
    none = {"rows": [], "given": 6, "correct": 0, "rise": None, "share": None, "bend": None}
    lines = str(segments({("", "l2:1"): found, ("", "l2:9"): none})).splitlines()
    assert lines[0].split() == ["examples", "correct", "failed", "rise", "share", "bend"]
    assert lines[2].split() == ["l2:1", "6", "5", "2", "1.5", "0.25", "0.125"]
    assert lines[3].split() == ["l2:9", "6", "0", "0", "–", "–", "–"]
