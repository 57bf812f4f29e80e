"""What all tables share: numbers as text, costs, remarks, and terminals of few characters."""

import io

import pytest
from rich.console import Console

from hauberk.report.tables import grid


@pytest.mark.parametrize(
    ("value", "n", "text"),
    [(0.12345, 1000, "12.3%"), (0.12345, 1001, "12.35%"), (1.0, 5, "100.0%"), (None, 5, "–")],
)
def test_percent(value, n, text):
    assert grid.percent(value, n) == text


def test_numbers():
    assert grid.between([0.1234, 0.5678]) == "12.3–56.8"
    assert [grid.number(v) for v in (999.5, 1000.4, 3.0, 3.14, None)] == [
        "999.5", "1,000", "3", "3.1", "–",
    ]  # fmt: skip
    assert grid.fixed(float("nan")) == "–"
    assert grid.fixed(1234.5678) == "1235"


def test_cost():
    summary = {"n": 8, "cost": {"forwards": 20, "backwards": 4, "seconds": None}}
    assert grid.cost(summary) == "2.5 F + 0.5 B passes per example"
    summary["cost"]["seconds"] = 61.25
    assert grid.cost(summary).endswith(", 61.2 s")
    assert grid.per_example({**summary, "n": 0}, "forwards") is None


def test_remarks():
    assert grid.remarks({}) == []
    found = grid.remarks(
        {
            "escalated": True,
            "finished": False,
            "near_boundary": [{"id": 3, "threat": t} for t in ("l1:1", "l2:1")],
            "rejected": 2,
            "warnings": ["one", "two"],
        }
    )
    assert [line.split(":")[0] for line in found] == [
        "escalated", "unfinished", "examples with a point within rounding of the decision boundary",
        "examples that an attack called broken and the judge did not", "warning", "warning",
    ]  # fmt: skip
    assert found[2].endswith(": 1")
    assert found[3].endswith(": 2")


def test_a_terminal_without_unicode():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    table = grid.TextTable([(["a", "b"], [("", ["≤ x [bold]", "–"])])], ["a note"])
    table.print(Console(file=stream, width=60))
    text = raw.getvalue().decode("ascii")
    assert "<= x [bold]" in text
    assert text.rstrip().endswith("a note")
