import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hauberk.errors import InputError
from hauberk.evaluation.core.summary import (
    RunResult,
    clopper_pearson,
    cost,
    fingerprint,
    head,
    wilson,
)


def test_wilson_known_values():
    # R: binom::binom.confint(50, 100, methods = "wilson"), and (0, 10)
    assert wilson(50, 100) == pytest.approx((0.4038315, 0.5961685), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 10)[0] == 0.0
    assert wilson(0, 0) == (0.0, 1.0)
    for bad in ((3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)):
        with pytest.raises(InputError):
            wilson(*bad)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_ends_solve_the_score_equation(case):
    k, n = case
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            score = abs(k / n - end) / math.sqrt(end * (1 - end) / n)
            assert score == pytest.approx(1.959964, rel=1e-4)


@given(
    st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_clopper_pearson_is_the_one_sided_bound_of_scipy(case, confidence):
    k, n = case
    high = 1.0 if k == n else scipy.stats.beta.ppf(confidence, k + 1, n - k)
    assert clopper_pearson(k, n, confidence) == pytest.approx(high, abs=1e-9)
    exact = scipy.stats.binomtest(k, n, alternative="less").proportion_ci(confidence)
    assert clopper_pearson(k, n, confidence) == pytest.approx(exact.high, abs=1e-6)


def test_clopper_pearson_known_values():
    assert clopper_pearson(0, 60) == pytest.approx(1 - 0.05 ** (1 / 60), abs=1e-12)  # 4.9%
    assert clopper_pearson(0, 0) == clopper_pearson(5, 5) == 1.0
    for bad in ((3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)):
        with pytest.raises(InputError):
            clopper_pearson(*bad)


def test_fingerprint_ignores_what_a_resumed_run_may_change():
    one = {"seed": 0, "box": (0.0, 1.0), "started": "now"}
    assert fingerprint(one) == fingerprint({"box": [0.0, 1.0], "seed": 0, "batch_size": 7})
    assert fingerprint(one) != fingerprint({**one, "seed": 1})


def test_the_head_adds_up_parts():
    clean = {"id": np.arange(4), "correct": np.array([True, True, True, False]),
             "seconds": np.full(4, 0.5)}  # fmt: skip
    part = {"id": np.arange(3), "forwards": np.array([5, 6, 7]), "backwards": np.array([4, 5, 6]),
            "seconds": np.full(3, 1.0)}  # fmt: skip
    facts = {"kind": "toy", "seed": 2, "n": 4, "draws": 2, "warnings": ["noisy"]}
    told = head(facts, clean, [part, part])
    assert told["clean_accuracy"] == 0.75
    assert told["clean_interval"] == list(wilson(3, 4))
    assert told["cost"] == {
        "forwards": 4 * 2 + 36, "backwards": 30, "seconds": 8.0, "judge_forwards": 2 * 6,
    }  # fmt: skip
    assert (told["kind"], told["seed"], told["warnings"]) == ("toy", 2, ["noisy"])
    assert told["finished"] is True
    assert head({**facts, "n": 9}, clean, [])["finished"] is False
    assert cost([]) == {"forwards": 0, "backwards": 0, "seconds": None, "judge_forwards": 0}


def test_results_share_their_head():
    toy = RunResult()
    toy.summary, toy.store = {"cost": {"forwards": 3}, "warnings": ["a"]}, None
    assert (toy.cost, toy.warnings, toy.path) == ({"forwards": 3}, ["a"], None)
