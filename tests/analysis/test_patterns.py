import json
from math import inf, sqrt

import numpy as np
import pytest
import torch
from helpers.data import decided, inputs
from helpers.models import halfspace
from hypothesis import given
from hypothesis import strategies as st

from hauberk import L1, L2, InputError, Linf
from hauberk.analysis import (
    Crossing,
    Pattern,
    SolverRun,
    attack_runs,
    compare,
    crossings,
    curves,
    figures,
    magnitudes,
    patterns,
    radius_runs,
    soft_sparsity,
)
from hauberk.analysis.figures import default_eps
from hauberk.attacks import APGD, PGD
from hauberk.maths.norms import norm
from hauberk.solvers import EpsSearch

WEIGHT = [1.0, -2.0, 0.5, 0.25]


def examples(dtype=torch.float64, count=6):
    x = inputs(count, (4,), seed=3, dtype=dtype) * 0.2 + 0.4
    return decided(halfspace(WEIGHT, dtype=dtype), x)


def search(largest):
    solver = EpsSearch(attack=APGD(steps=20), largest=largest)
    return lambda model, x, y: solver(model, x, y, "l2", box=(-9.0, 9.0))


class TestSoftSparsity:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    @pytest.mark.parametrize("k", [1, 2, 7, 12])
    def test_k_equal_entries_give_root_k(self, k, dtype):
        delta = torch.zeros(1, 3, 2, 2, dtype=dtype)
        delta.view(1, -1)[0, :k] = torch.tensor([0.25, -0.25]).repeat(6)[:k].to(dtype)
        assert float(soft_sparsity(delta)) == pytest.approx(sqrt(k), rel=1e-14)

    @given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9), st.floats(1e-3, 1e3))
    def test_lies_between_its_ends_and_knows_no_scale(self, numbers, factor):
        delta = torch.tensor([numbers], dtype=torch.float64)
        found = float(soft_sparsity(delta))
        if not any(numbers):
            assert np.isnan(found)
            return
        assert 1 <= found <= sqrt(len(numbers))
        scaled = delta / delta.abs().max()
        assert float(soft_sparsity(scaled * factor)) == pytest.approx(found, rel=1e-9)

    def test_of_zeros_nan_and_nothing(self):
        found = soft_sparsity(torch.tensor([[0.0, 0.0], [torch.nan, 1.0], [3.0, 4.0]]))
        assert found[:2].isnan().all()
        assert float(found[2]) == pytest.approx(7 / 5)
        assert soft_sparsity(torch.zeros(0, 5)).shape == (0,)
        with pytest.raises(InputError, match="one row per example"):
            soft_sparsity(torch.zeros(5))


class TestMagnitudes:
    @given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.integers(1, 12))
    def test_counts_as_numpy_does(self, numbers, bins):
        counts, edges = magnitudes(torch.tensor([numbers], dtype=torch.float64), bins)
        told = np.histogram(np.abs(numbers), bins=edges.numpy())[0]
        assert counts.tolist() == told.tolist()
        assert int(counts.sum()) == len(numbers)

    def test_given_edges_leave_out_what_lies_beyond(self):
        delta = torch.tensor([[-1.0, 0.0, 0.5, 2.0, 3.0]])
        counts, _ = magnitudes(delta, torch.tensor([0.5, 1.0, 2.0]))
        assert counts.tolist() == [1, 2]

    def test_nothing_changed_and_nobody(self):
        assert magnitudes(torch.zeros(2, 3), 4)[0].tolist() == [6, 0, 0, 0]
        assert magnitudes(torch.zeros(0, 3), 4)[0].tolist() == [0, 0, 0, 0]

    @pytest.mark.parametrize("bins", [0, torch.tensor([1.0]), torch.tensor([0.0, 0.0])])
    def test_refuses_bins_that_are_none(self, bins):
        with pytest.raises(InputError, match="bins"):
            magnitudes(torch.zeros(1, 2), bins)

    def test_refuses_nan(self):
        with pytest.raises(InputError, match="leave those examples out"):
            magnitudes(torch.tensor([[torch.nan]]))


class TestCompare:
    def test_closed_form(self):
        delta = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
        (row,) = compare([Pattern.of(delta, "hand", distance="l2", size=torch.tensor([1, 2, 0]))])
        assert row["examples"] == 2
        assert row["still"] == 1
        assert (row["lower"], row["median"], row["upper"]) == (1.25, 1.5, 1.75)
        assert row["spread"] == 0.5
        assert row["zeros"] == 0.375
        assert row["size"] == 1.5

    def test_of_nobody_is_none_and_json(self):
        pattern = Pattern.of(torch.zeros(0, 3), "nobody")
        (row,) = compare([pattern])
        assert row["median"] is row["zeros"] is row["size"] is None
        json.dumps([row, pattern.to_dict()], allow_nan=False)

    def test_nan_is_no_json(self):
        told = Pattern.of(torch.zeros(1, 3), "still").to_dict()
        assert told["sparsity"] == [None]
        assert json.loads(json.dumps(told, allow_nan=False)) == told


class TestPatterns:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_norms_shape_a_linear_model_as_theory_says(self, dtype):
        """l1 moves one feature, l2 moves along the weights, linf all features alike."""
        x, y = examples(dtype)
        runs = attack_runs({"apgd": APGD(steps=60)}, [L1(0.9), L2(0.9), Linf(0.9)], ["margin"],
                           box=(-5, 5))  # fmt: skip
        study = patterns(halfspace(WEIGHT, dtype=dtype), x, y, runs, box=(-5, 5))
        assert [p.name for p in study.patterns] == [
            f"apgd margin {n}" for n in ("l1", "l2", "linf")
        ]
        weight = torch.tensor([WEIGHT], dtype=torch.float64)
        ends = 1.0, float(soft_sparsity(weight)), 2.0
        for pattern, end in zip(study.patterns, ends, strict=True):
            assert len(pattern) == len(x)
            torch.testing.assert_close(
                pattern.sparsity, torch.full_like(pattern.sparsity, end), rtol=2e-2, atol=0
            )
            assert bool((pattern.size <= 0.9).all())
            assert pattern.eps == 0.9

    def test_only_what_fools_inside_box_and_threat_counts(self):
        x, _ = examples()
        x = torch.full_like(x, 0.5)
        y = torch.zeros(6, dtype=torch.int64)
        y[5] = 1  # an error to begin with: it is never asked about
        asked = []

        def solve(model, x, y):
            asked.append(len(x))
            found = x.clone()
            found[0, 0] = 0.9  # wrong, and inside
            found[1, 0] = 1.1  # wrong, outside the box
            found[2, 1] = 0.0  # wrong, outside the threat
            found[3, 2] = torch.nan
            return found  # the last is not wrong

        run = SolverRun(solve=solve, solver="hand", threat=L2(0.41))
        study = patterns(halfspace([1.0, -1.0, 0.5, 0.25], -0.7, torch.float64), x, y, [run])
        assert asked == [5]
        assert study.patterns[0].rows.tolist() == [0]
        assert (study.examples, study.given, study.successes) == (5, 6, {"hand": 1})
        assert study.patterns[0].size.tolist() == pytest.approx([0.4])

    def test_common_or_each_its_own(self):
        x, y = examples()

        def moved(rows):
            def solve(model, x, y):
                found = torch.full_like(x, torch.nan)
                found[rows] = 1 - x[rows]
                return found

            return solve

        model = halfspace(WEIGHT, -float(torch.tensor(WEIGHT).sum()) / 2, torch.float64)
        y = model(x).argmax(1)
        runs = radius_runs([("a l1", moved([0, 1, 2])), ("b", moved([1, 2, 5]))])
        study = patterns(model, x, y, runs)
        assert [p.rows.tolist() for p in study.patterns] == [[1, 2], [1, 2]]
        alone = patterns(model, x, y, runs, common=False)
        assert [p.rows.tolist() for p in alone.patterns] == [[0, 1, 2], [1, 2, 5]]
        torch.testing.assert_close(alone.patterns[0].size, norm(1 - 2 * x[:3], 1))
        assert alone.patterns[1].size.isnan().all()
        with pytest.raises(InputError, match=r"fooled by every run \(a l1 3, c 1\)"):
            patterns(model, x, y, [runs[0], *radius_runs([("c", moved([4]))])])

    def test_batch_of_nobody(self, tmp_path):
        x, y = examples(count=0)
        study = patterns(
            halfspace(WEIGHT, dtype=torch.float64), x, y, radius_runs([("a l2", search(1.0))])
        )
        assert len(study.patterns[0]) == 0
        study.save(tmp_path)

    def test_leaves_the_model_as_it_was(self):
        x, y = examples()
        model = halfspace(WEIGHT, dtype=torch.float64).train()
        patterns(model, x, y, attack_runs({"pgd": PGD(steps=5)}, ["linf:0.9"], ["ce"]))
        assert model.training
        assert all(p.requires_grad and p.grad is None for p in model.parameters())

    def test_refuses_no_runs_twins_and_wrong_shapes(self):
        x, y = examples()
        model = halfspace(WEIGHT, dtype=torch.float64)
        run = SolverRun(solve=lambda model, x, y: x[:, :2], solver="flat")
        with pytest.raises(InputError, match="at least one"):
            patterns(model, x, y, [])
        with pytest.raises(InputError, match="no name twice"):
            patterns(model, x, y, [run, run])
        with pytest.raises(InputError, match="flat must return points"):
            patterns(model, x, y, [run])
        with pytest.raises(InputError, match="labels reach 2"):
            patterns(model, x, torch.full_like(y, 2), [run])

    def test_saves_what_it_found(self, tmp_path):
        x, y = examples()
        runs = radius_runs([("search l2", search(2.0))])
        study = patterns(halfspace(WEIGHT, dtype=torch.float64), x, y, runs)
        study.save(tmp_path / "new", note="hello")
        told = json.loads((tmp_path / "new" / "patterns.json").read_text())
        assert told["note"] == "hello"
        assert told["patterns"][0]["sparsity"] == study.patterns[0].sparsity.tolist()
        with np.load(tmp_path / "new" / "patterns.npz", allow_pickle=False) as kept:
            assert kept["names"].tolist() == ["search l2"]
            assert np.allclose(kept["delta_0"], study.deltas[0].numpy(), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "solver", "distance"),
    [("fab l2", "fab", "l2"), ("FAB-Linf", "FAB", "linf"), ("l1", "radius", "l1"),
     ("walk l1.5", "walk", "l1.5"), ("xl2", "xl2", ""), ("pwcf", "pwcf", "")],
)  # fmt: skip
def test_names_say_the_distance(name, solver, distance):
    (run,) = radius_runs([(name, lambda model, x, y: x)])
    assert (run.solver, run.distance, run.problem) == (solver, distance, 2)
    assert (run.threat is None) == (distance == "")


class TestCurves:
    def test_by_hand(self):
        found = curves({"a": torch.tensor([0.0, 1, 2, inf]), "b": torch.tensor([0.5, 0.5, 3, 0])})
        assert found.eps.tolist() == [0, 0.5, 1, 2, 3]
        assert found.accuracy["a"].tolist() == [0.75, 0.75, 0.5, 0.25, 0.25]
        assert found.accuracy["b"].tolist() == [0.75, 0.25, 0.25, 0.25, 0]
        assert found.at(0.99) == {"a": 0.75, "b": 0.25}
        assert found.at(99) == {"a": 0.25, "b": 0}

    @given(st.lists(st.floats(0, 9), min_size=1, max_size=20), st.floats(0, 10))
    def test_is_the_share_above(self, radii, eps):
        row = torch.tensor(radii, dtype=torch.float64)
        assert curves({"m": row}).at(eps)["m"] == float((row > eps).double().mean())

    def test_where_the_order_changes(self):
        crossed = curves({"a": torch.tensor([2.0, 2, 2, 2]), "b": torch.tensor([1.0, 1, 3, 3])})
        assert crossings(crossed) == [Crossing(eps=2.0, before="a", after="b")]
        # Each leads by half at most.
        assert crossings(crossed, least=0.5) == []
        assert crossings(crossed, least=0.49) == [Crossing(eps=2.0, before="a", after="b")]

    def test_small_turns_between_great_leads_are_left_out(self):
        a = torch.tensor([1.0] * 5 + [2.1] * 1 + [4.0] * 4)
        b = torch.tensor([0.5] * 4 + [2.0] * 3 + [3.0] * 3)
        found = curves({"a": a, "b": b})
        assert [c.eps for c in crossings(found)] == [1.0, 2.0]
        assert crossings(found, least=0.2) == []

    def test_a_tie_is_no_crossing(self):
        assert crossings(curves({"a": torch.tensor([1.0, 3]), "b": torch.tensor([1.0, 2])})) == []
        assert crossings(curves({"a": torch.ones(3), "b": torch.ones(3)})) == []

    def test_of_nobody(self):
        found = curves({"a": torch.zeros(0), "b": torch.zeros(0)})
        assert crossings(found) == []
        assert found.to_dict()["accuracy"] == {"a": [None], "b": [None]}

    @pytest.mark.parametrize(
        ("radii", "said"),
        [({}, "no radii"), ({"a": torch.tensor([-1.0])}, "0 or more"),
         ({"a": torch.ones(1, 2)}, "a row"), ({"a": torch.ones(1), "b": torch.ones(2)}, "same")],
    )  # fmt: skip
    def test_refuses(self, radii, said):
        with pytest.raises(InputError, match=said):
            curves(radii)


class TestFigures:
    def test_writes_every_file(self, tmp_path):
        x, y = examples(count=4)
        model = halfspace(WEIGHT, dtype=torch.float64)
        model.eval()
        written = figures(
            tmp_path, model, x, y, eps={"l1": 2.5, "linf": 0.9}, suffix=".svg",
            attacks={"pgd": PGD(steps=4)}, losses=["ce"], box=(-5, 5),
        )  # fmt: skip
        assert {p.name for p in written} == {
            "patterns.json", "patterns.npz", "summary.json", "radii.svg", "perturbations_loss.svg",
            "perturbations_radius.svg", "sparsity_loss.svg", "sparsity_radius.svg",
            "sparsity_distances.svg",
        }  # fmt: skip
        assert all(p.stat().st_size > 500 for p in written)
        told = json.loads((tmp_path / "patterns.json").read_text())
        assert set(told["successes"]) == {
            "pgd ce l1", "pgd ce linf", "pgd eps search l1", "pgd eps search linf",
        }  # fmt: skip
        assert all(times > 1 for times in told["times"].values())

    def test_sizes_follow_box_and_shape(self):
        sizes = default_eps(torch.zeros(1, 1, 10, 10), (-1, 1))
        assert sizes == pytest.approx({"l1": 10, "l2": 2, "linf": 0.6})
        with pytest.raises(InputError, match="no end"):
            default_eps(torch.zeros(1, 4), (-inf, inf))

    def test_refuses_unknown_norms_and_suffixes(self, tmp_path):
        x, y = examples()
        with pytest.raises(InputError, match="give some of l1"):
            figures(tmp_path, halfspace(WEIGHT), x, y, eps={"l7": 1})
        with pytest.raises(InputError, match=r"\.png or \.svg"):
            figures(tmp_path, halfspace(WEIGHT), x, y, suffix=".gif")
