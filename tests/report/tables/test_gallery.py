"""The table of a gallery: medians over the broken examples alone."""

from hauberk.report.tables.gallery import table


def test_medians_of_the_broken():
    column = {
        "name": "l1:10", "fooled": [True, True, False, True], "distance": [1.0, 5.0, 99.0, 3.0],
        "norms": {"linf": [0.1, 0.3, 9.0, 0.2], "l2": [1.0, 2.0, 9.0, None]},
    }  # fmt: skip
    none = {**column, "name": "l2:1", "fooled": [False] * 4}
    text = str(table({"ids": [0, 1, 2, 3], "columns": [column, none]}))
    lines = text.splitlines()
    assert " ".join(lines[0].split()) == "broken distance linf l2"
    assert lines[2].split() == ["l1:10", "75.0%", "3", "0.2", "1.5"]
    assert lines[3].split() == ["l2:1", "0.0%", "–", "–", "–"]
    assert "4 examples" in text
    assert "0 examples" in str(table({"ids": [], "columns": []}))
