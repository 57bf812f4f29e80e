import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.errors import InputError
from hauberk.evaluation.accuracy.summary import summarise
from hauberk.evaluation.core.summary import wilson

THREATS = ["linf:0.3", "l2:1", "l1:10"]
CONTRACT = {
    "hauberk_version", "n", "clean_accuracy", "union_accuracy", "union_interval",
    "average_accuracy", "threats", "cost", "suite", "seed",
}  # fmt: skip


def rows_of(records):
    return {name: np.array([r[name] for r in records]) for name in (records[0] if records else ())}


def clean_of(correct, ids=None):
    n = len(correct)
    return {
        "id": np.arange(n) if ids is None else np.array(ids),
        "label": np.zeros(n, dtype=np.int64),
        "prediction": np.where(correct, 0, 1),
        "margin": np.where(correct, 1.0, -1.0),
        "correct": np.array(correct, dtype=bool),
    }


def row(id_, threat, attack, broken=False, **more):
    return {
        "id": id_, "label": 0, "threat": threat, "task": attack, "attacked": True,
        "claimed": broken, "broken": broken, "margin": -0.5 if broken else 0.5, "distance": 0.1,
        "attempt": 0, "forwards": 10, "backwards": 9, "row": -1, **more,
    }  # fmt: skip


def manifest_of(schedule, **more):
    return {
        "hauberk_version": "1", "threats": list(dict.fromkeys(t for t, _ in schedule)),
        "suite": "quick", "seed": 3, "schedule": [{"threat": t, "attack": a} for t, a in schedule],
        **more,
    }  # fmt: skip


def brute(correct, schedule, broken, threat):
    """Accuracies and breaks, one example at a time."""
    mine = [k for k, (t, _) in enumerate(schedule) if t == threat]
    robust, firsts, after = 0, [0] * len(mine), [0] * len(mine)
    for i, right in enumerate(correct):
        alive = bool(right)
        for at, k in enumerate(mine):
            if alive and broken[k][i]:
                firsts[at] += 1
                alive = False
            after[at] += alive
        robust += alive
    return robust, firsts, after


@st.composite
def runs(draw):
    schedule = draw(
        st.lists(
            st.tuples(st.sampled_from(THREATS), st.sampled_from("abc")),
            min_size=1, max_size=7, unique=True,
        )
    )  # fmt: skip
    n = draw(st.integers(1, 12))
    correct = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    every = draw(st.booleans())
    breaks = draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n),
                           min_size=len(schedule), max_size=len(schedule)))  # fmt: skip
    union_only = not every and draw(st.booleans())
    ids = draw(st.permutations(range(100, 100 + n)))
    records, broken = [], [[False] * n for _ in schedule]
    fallen: dict[int, set[str]] = {i: set() for i in range(n)}
    for k, (threat, attack) in enumerate(schedule):
        for i in range(n):
            skip = threat in fallen[i] or (union_only and bool(fallen[i]))
            attacked = correct[i] and (every or not skip)
            broken[k][i] = attacked and breaks[k][i]
            records.append(row(ids[i], threat, attack, broken[k][i], attacked=attacked))
        for i in range(n):
            fallen[i] |= {threat} if broken[k][i] else set()
    records = draw(st.permutations(records))
    return schedule, correct, ids, every, union_only, broken, records


@settings(max_examples=150, deadline=None)
@given(runs())
def test_summary_agrees_with_brute_force(run):
    schedule, correct, ids, every, union_only, broken, records = run
    n = len(correct)
    manifest = manifest_of(schedule, n=n, all_attacks=every, union_only=union_only)
    summary = summarise(clean_of(correct, ids), rows_of(records), manifest)
    json.dumps(summary, allow_nan=False)
    assert summary.keys() >= CONTRACT
    assert summary["clean_accuracy"] == pytest.approx(sum(correct) / n)
    accuracies = []
    for threat, told in summary["threats"].items():
        robust, firsts, after = brute(correct, schedule, broken, threat)
        accuracies.append(robust / n)
        assert told["accuracy"] == pytest.approx(robust / n)
        assert told["interval"] == pytest.approx(list(wilson(robust, n)))
        assert told["upper_bound"] is union_only
        mine = [k for k, (t, _) in enumerate(schedule) if t == threat]
        assert list(told["attacks"]) == [schedule[k][1] for k in mine]
        for at, k in enumerate(mine):
            attack = told["attacks"][schedule[k][1]]
            assert attack["broke"] == firsts[at]
            assert attack["accuracy_after"] == pytest.approx(after[at] / n)
            assert attack["broke_alone"] == (sum(broken[k]) if every else None)
    union = sum(c and not any(b[i] for b in broken) for i, c in enumerate(correct))
    assert summary["union_accuracy"] == pytest.approx(union / n)
    assert summary["union_interval"] == pytest.approx(list(wilson(union, n)))
    assert summary["average_accuracy"] == pytest.approx(sum(accuracies) / len(accuracies))
    assert summary["finished"] is True
    assert summary["cost"] == {
        "forwards": n + 10 * len(records), "backwards": 9 * len(records), "seconds": None,
        "judge_forwards": sum(r["attacked"] for r in records),
    }  # fmt: skip


def test_an_empty_run_has_null_accuracies():
    summary = summarise({}, {}, manifest_of([("l2:1", "a")], n=0))
    assert summary["n"] == 0
    for key in ("clean_accuracy", "union_accuracy", "union_interval", "average_accuracy"):
        assert summary[key] is None
    assert summary["threats"]["l2:1"]["accuracy"] is None
    assert summary["threats"]["l2:1"]["attacks"]["a"]["accuracy_after"] is None
    assert summary["cost"] == {
        "forwards": 0, "backwards": 0, "seconds": None, "judge_forwards": 0,
    }  # fmt: skip
    json.dumps(summary, allow_nan=False)


def test_near_boundary_rejected_warnings_and_unattacked_rows():
    schedule = [("l2:1", "a"), ("l2:1", "b")]
    nan = float("nan")
    records = [
        row(0, "l2:1", "a", margin=9e-6, claimed=True),
        row(0, "l2:1", "b", margin=-9e-6, broken=True),
        row(1, "l2:1", "a", margin=0.2, claimed=True),
        row(1, "l2:1", "b"),
        row(2, "l2:1", "a", margin=nan, attacked=False, distance=nan, claimed=False),
    ]
    manifest = manifest_of(schedule, n=3, warnings=["mind the gap"])
    summary = summarise(clean_of([True, True, False]), rows_of(records), manifest)
    assert summary["near_boundary"] == [{"id": 0, "threat": "l2:1"}]
    assert summary["rejected"] == 2
    assert summary["warnings"] == ["mind the gap"]
    assert summary["finished"] is True
    assert summary["cost"]["judge_forwards"] == 4
    assert summary["per_example"]["forwards"] == pytest.approx(53 / 3)


def test_an_unfinished_run_says_so():
    schedule = [("l2:1", "a"), ("l1:9", "a")]
    records = [row(0, "l2:1", "a"), row(1, "l2:1", "a"), row(0, "l1:9", "a")]
    clean, manifest = clean_of([True, True]), manifest_of(schedule, n=2)
    summary = summarise(clean, rows_of(records), manifest)
    assert summary["finished"] is False
    assert [t["upper_bound"] for t in summary["threats"].values()] == [False, True]
    whole = rows_of([*records, row(1, "l1:9", "a")])
    assert summarise(clean, whole, manifest)["finished"] is True
    assert summarise(clean, whole, {**manifest, "n": 3})["finished"] is False


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([row(0, "l2:1", "a"), row(0, "l2:1", "a")], "a under l2:1 on example 0 twice"),
        ([row(7, "l2:1", "a")], "example 7 was attacked but is in no clean part"),
        ([row(0, "l2:2", "a")], "a under l2:2, which the schedule does not name"),
        ([row(0, "l2:1", "b")], "b under l2:1, which the schedule does not name"),
        ([row(1, "l2:1", "a")], "example 1 is attacked although the model was wrong"),
        ([row(0, "l2:1", "a", broken=True, attacked=False)], "broken by an attack that was not"),
    ],
)
def test_contradictions_are_refused(records, why):
    manifest = manifest_of([("l2:1", "a")])
    with pytest.raises(InputError, match=why):
        summarise(clean_of([True, False]), rows_of(records), manifest)


def test_contradicting_schedules_and_clean_parts_are_refused():
    with pytest.raises(InputError, match="a under l2:1 twice"):
        summarise({}, {}, manifest_of([("l2:1", "a"), ("l2:1", "a")]))
    with pytest.raises(InputError, match="does not name"):
        summarise({}, {}, manifest_of([("l2:1", "a")], threats=["l1:1"]))
    with pytest.raises(InputError, match="example 4 twice"):
        summarise(clean_of([True, True], ids=[4, 4]), {}, manifest_of([]))
