import json
from dataclasses import replace
from math import inf, isnan, sqrt

import pytest
import torch
from helpers.data import digits
from helpers.models import Wrapped, halfspace, network
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn

from hauberk import InputError, Linf
from hauberk.analysis import agreement, hardness
from hauberk.analysis.agreement import mean_ranks
from hauberk.analysis.hardness import group_names, spread
from hauberk.attacks import PGD

# Wang et al. 2021, Tables A7 and A8: by group the weights under l0, l1, l2 and linf, the distance
# by C&W and the least eps in linf.
PRINTED = """
0a | 0 0 0 0 1 | 0 0 0 0 1 | 0 0 0 0 1 |
    0 0 0 0 1 | 1.839 1.954 1.347 1.698 3.041 | 0.113 0.167 0.073 0.121 0.199
0b | 0.248 0.655 0.097 0 0 | 0.07 0.922 0 0 0 | 0.441 0.248 0.156 0.155 0 |
    0.479 0.208 0.145 0.168 0 | 1.545 1.982 2.178 2.349 1.05 | 0.167 0.157 0.113 0.114 0.093
1a | 0 0 0.613 0.18 0.206 | 0 0 0.298 0.376 0.327 | 0 0 0.387 0.367 0.246 |
    0.087 0.142 0.277 0.247 0.246 | 1.09 1.182 1.327 1.458 0.943 | 0.075 0.068 0.091 0.105 0.096
1b | 0 0 0.223 0.44 0.337 | 0 0 0.397 0.433 0.169 | 0 0.242 0.31 0.195 0.253 |
    0 0.342 0.001 0.144 0.514 | 0.113 1.113 1.357 1.474 1.197 | 0.015 0.09 0.076 0.095 0.106
2a | 0 1 0 0 0 | 0 1 0 0 0 | 0 0.892 0 0 0.108 |
    0 0.938 0 0 0.062 | 1.335 2.552 2.282 1.229 1.884 | 0.05 0.165 0.11 0.083 0.162
2b | 0 0 0.909 0 0.091 | 0 0 0.843 0 0.157 | 0 0 0.788 0 0.112 |
    0 0 0.85 0 0.15 | 1.928 1.439 2.312 1.521 2.356 | 0.082 0.106 0.176 0.072 0.171
3a | 0.481 0 0.378 0 0 | 0.69 0 0.31 0 0 | 0.589 0.069 0.208 0 0.134 |
    0.864 0 0.084 0 0.052 | 2.267 1.656 2.053 1.359 0.861 | 0.171 0.088 0.143 0.117 0.086
3b | 0 0.352 0 0 0.648 | 0 0.093 0.205 0 0.701 | 0.064 0.26 0.077 0 0.6 |
    0.079 0.251 0.156 0 0.514 | 1.733 1.967 1.741 1.031 2.413 | 0.1 0.097 0.096 0.038 0.132
4a | 0 0 0.753 0 0.247 | 0.018 0 0.567 0 0.416 | 0 0 0.595 0 0.405 |
    0 0 0.651 0 0.349 | 1.558 1.229 1.939 0.297 1.303 | 0.084 0.088 0.122 0.06 0.094
4b | 0 0 0 1 0 | 0.347 0 0 0.589 0.063 | 0.346 0 0 0.654 0 |
    0.239 0 0 0.761 0 | 0.94 1.836 1.384 1.079 2.027 | 0.115 0.103 0.047 0.125 0.1
5a | 0 0.062 0.254 0 0.684 | 0.131 0.25 0 0 0.619 | 0.012 0.164 0.121 0 0.703 |
    0.158 0.008 0.258 0 0.576 | 1.024 1.532 1.511 1.351 1.584 | 0.09 0.106 0.085 0.069 0.144
5b | 0.457 0 0 0.542 0 | 0.033 0.157 0.005 0.647 0.158 | 0.161 0.194 0 0.508 0.136 |
    0.229 0.179 0 0.401 0.191 | 1.319 1.908 1.02 1.402 1.372 | 0.106 0.099 0.075 0.131 0.071
6a | 0.215 0 0 0.194 0.59 | 0.013 0 0 0.441 0.546 | 0.031 0 0 0.41 0.56 |
    0 0 0 0.459 0.541 | 1.199 0.653 1.654 1.156 1.612 | 0.09 0.017 0.053 0.112 0.158
6b | 0.805 0 0 0.195 0 | 0.775 0 0 0.225 0 | 0.767 0 0 0.233 0 |
    0.854 0 0 0.146 0 | 2.158 0 1.063 1.545 0.147 | 0.159 0.02 0.069 0.145 0.134
7a | 0.489 0 0 0.212 0.298 | 0.525 0.19 0 0.215 0.07 | 0.488 0.165 0 0.175 0.172 |
    0.178 0.263 0 0.354 0.205 | 1.508 1.731 1.291 1.874 1.536 | 0.11 0.125 0.089 0.126 0.095
7b | 0.007 0.258 0.117 0.482 0.136 | 0.47 0.05 0.1 0.343 0.038 | 0.2 0.175 0.233 0.378 0.014 |
    0.258 0.207 0.109 0.426 0 | 1.719 2.038 1.417 2.169 0.848 | 0.087 0.097 0.084 0.135 0.077
8a | 0 0 1 0 0 | 0 0.18 0.442 0.378 0 | 0 0.298 0.593 0.109 0 |
    0 0.377 0.595 0.028 0 | 1.626 1.497 1.501 1.824 0.728 | 0.07 0.153 0.156 0.156 0.055
8b | 0.246 0 0 0 0.754 | 0.171 0 0 0 0.829 | 0.33 0 0 0 0.67 |
    0.407 0 0 0 0.593 | 1.928 1.014 1.5 1.991 1.4 | 0.171 0.035 0.09 0.17 0.161
9a | 1 0 0 0 0 | 0.918 0 0.012 0 0.07 | 0.911 0 0.089 0 0 |
    0.935 0 0.065 0 0 | 1.961 1.113 1.132 1.802 0.939 | 0.144 0.108 0.083 0.103 0.079
9b | 0 0.665 0.331 0 0.004 | 0 0.51 0.49 0 0 | 0 0.51 0.49 0 0 |
    0 0.665 0.331 0 0.004 | 1.132 1.508 1.335 1.033 1.11 | 0.041 0.09 0.103 0.083 0.044
"""


def printed():
    """The six measures, ``(20, 5)`` each."""
    rows = PRINTED.strip().replace("|\n", "|").splitlines()
    values = [[[float(v) for v in cell.split()] for cell in row.split("|")[1:]] for row in rows]
    table = torch.tensor(values, dtype=torch.float64)
    return dict(zip(("l0", "l1", "l2", "linf", "cw", "eps"), table.unbind(1), strict=True))


def test_statistics_of_the_printed_tables():
    measures = printed()
    assert measures["l0"].shape == (20, 5)
    found = agreement(measures)
    norms = ("l0", "l1", "l2", "linf")
    assert [round(found[n, "eps"].rho, 2) for n in norms] == [0.69, 0.70, 0.73, 0.77]
    assert [round(found[n, "cw"].rho, 2) for n in norms] == [0.46, 0.50, 0.49, 0.49]
    assert [found[n, "eps"].top for n in norms] == [14, 14, 15, 17]
    assert [found[n, "cw"].top for n in norms] == [11, 11, 10, 11]
    assert all(f.groups == 20 and f.tied == 0 for f in found.values())
    between = [found[a, b] for a in norms for b in norms if (a, b) in found]
    assert len(between) == 6
    assert round(min(f.rho for f in between), 2) == 0.76
    assert round(max(f.rho for f in between), 2) == 0.87
    assert {min(f.top for f in between), max(f.top for f in between)} == {15, 18}
    # In group 8a two images have the largest eps, and one of them is the farthest by C&W: that
    # counts. Whoever takes the first of the two only has 11.
    assert (round(found["cw", "eps"].rho, 2), found["cw", "eps"].top) == (0.58, 12)


some_ties = st.lists(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 2.0, inf]), min_size=4, max_size=4),
    min_size=2,
    max_size=2,
)


@given(some_ties)
def test_agreement_of_one_group_is_that_of_scipy(rows):
    one, other = (torch.tensor([row]) for row in rows)
    found = agreement({"one": one, "other": other})["one", "other"]
    if len(set(rows[0])) == 1 or len(set(rows[1])) == 1:
        assert (found.groups, found.tied, found.top) == (0, 1, 0)
        assert isnan(found.rho)
        return
    finite = [[1e3 if v == inf else v for v in row] for row in rows]
    assert found.rho == pytest.approx(spearmanr(*finite).statistic, abs=1e-12)
    tops = [{i for i, v in enumerate(row) if v == max(row)} for row in rows]
    assert found.top == bool(tops[0] & tops[1])


def test_agreement_is_a_mean_over_groups_with_its_error():
    one = torch.tensor([[1.0, 2, 3], [1, 2, 3], [1, 2, 3], [0, 0, 0]])
    other = torch.tensor([[5.0, 6, 7], [7, 6, 5], [5, 6, 7], [1, 2, 3]])
    found = agreement({"one": one, "other": other})["one", "other"]
    assert found.rho == pytest.approx(1 / 3)
    assert found.error == pytest.approx(sqrt(4 / 3) / sqrt(3))  # of 1, -1, 1
    assert (found.groups, found.tied, found.top) == (3, 1, 2)


def test_agreement_without_groups():
    none = torch.zeros(0, 3)
    found = agreement({"one": none, "other": none})["one", "other"]
    assert (found.groups, found.tied, found.top) == (0, 0, 0)
    assert found.to_dict()["rho"] is None
    assert found.to_dict()["error"] is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.zeros(2, 4), "one shape"),
        (torch.full((2, 3), torch.nan), "other holds NaN"),
    ],
)
def test_agreement_refuses(other, message):
    with pytest.raises(InputError, match=message):
        agreement({"one": torch.zeros(2, 3), "other": other})
    with pytest.raises(InputError, match="one shape"):
        agreement({"one": torch.zeros(3)})


def test_mean_ranks_share_ties():
    ranks = mean_ranks(torch.tensor([[0.5, inf, 0.5, 0.0], [1, 1, 1, 1]]))
    assert ranks.tolist() == [[2.5, 4, 2.5, 1], [2.5, 2.5, 2.5, 2.5]]


def test_spread_of_known_weights():
    weights = torch.tensor([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.4, 0.3, 0.2, 0.1]])
    told = spread(weights)
    assert told["images"] == pytest.approx((1 + 4 + 2 + 1 / 0.3) / 4)
    assert (told["one"], told["even"]) == (0.25, 0.25)


def test_groups_are_named_by_class_and_letter():
    assert group_names([3, 3, 4]) == ["3a", "3b", "4a"]
    assert group_names([0] * 28)[25:] == ["0z", "0-27", "0-28"]


WEIGHT = (3.0, -4.0, 0.5, 1.0)


def linear():
    return halfspace(WEIGHT, dtype=torch.float64)


def points(n=24):
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64) - 0.5
    return x, (x @ torch.tensor(WEIGHT, dtype=torch.float64) > 0).long()


BOX = (-9.0, 9.0)


def test_weights_and_distances_of_a_linear_model_are_known():
    # A shared perturbation changes the margins of a class alike, so that at any point the best
    # weights are 1/K + (margin - mean margin) / gamma, as long as none of them is 0.
    x, y = points()
    found = hardness(
        linear(), x, y, group=4, threats=("l2:0.1", "linf:0.05"), gamma=100.0, beta=inf,
        attack=PGD(loss="margin", steps=3), budget=200, box=BOX,
    )  # fmt: skip
    margin = (x @ torch.tensor(WEIGHT, dtype=torch.float64)).abs()[found.index]
    expected = 1 / 4 + (margin - margin.mean(1, keepdim=True)) / 100
    for weights in found.weights.values():
        torch.testing.assert_close(weights.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.eps_linf, margin / 8.5, rtol=1e-3, atol=1e-6)
    length = sqrt(sum(w * w for w in WEIGHT))
    assert (found.cw_l2 >= margin / length * (1 - 1e-6)).all()
    for name in found.weights:
        pair = found.correlations[name, "eps_linf"]
        assert pair.rho == pytest.approx(1)
        assert pair.top == pair.groups == len(found.index)
    assert found.correct.all()
    assert torch.equal(found.images, x[found.index])
    assert torch.equal(y[found.index], found.labels.unsqueeze(1).expand(-1, 4))


def test_wrong_images_are_at_distance_zero():
    x, y = points()
    y[0] = 1 - y[0]
    found = hardness(linear(), x, y, group=4, threats=("l2:0.5",), groups=9, budget=100,
                     box=BOX)  # fmt: skip
    wrong = found.index == 0
    assert wrong.any()
    assert torch.equal(~found.correct, wrong)
    assert (found.cw_l2[wrong] == 0).all()
    assert (found.eps_linf[wrong] == 0).all()
    assert (found.eps_linf[~wrong] > 0).all()
    assert "0!" in found.table()


def small_net(x, classes=10):
    return network(x[0].numel(), 16, classes, seed=3, activation=nn.Tanh, dtype=x.dtype)


@pytest.mark.filterwarnings("ignore:the images look normalised")
def test_another_box_changes_nothing():
    x, y = digits(60)
    x = x.double()
    model = small_net(x)
    one = hardness(model, x, y, group=3, threats=("l2:1", "linf:0.1"), groups=1, budget=60)
    two = hardness(
        Wrapped(model, lambda x: (x + 1) / 4), x * 4 - 1, y, group=3,
        threats=("l2:4", "linf:0.4"), groups=1, budget=60, box=(-1.0, 3.0),
    )  # fmt: skip
    for (_, a), (_, b) in zip(one.weights.items(), two.weights.items(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_groups_depend_on_no_others_and_runs_repeat():
    x, y = digits(100)
    model = small_net(x)
    few = {"group": 3, "threats": ("linf:0.1",), "budget": 60, "groups": 2}
    every = hardness(model, x, y, **few)
    again = hardness(model, x, y, **few)
    assert torch.equal(every.weights["linf:0.1"], again.weights["linf:0.1"])
    assert every.labels.tolist() == sorted(every.labels.tolist())
    part = hardness(model, x, y, classes=[7, 2], **few)
    rows = [i for i, c in enumerate(every.labels.tolist()) if c in (2, 7)]
    assert part.labels.tolist() == [2, 2, 7, 7]
    assert torch.equal(part.index, every.index[rows])
    torch.testing.assert_close(part.weights["linf:0.1"], every.weights["linf:0.1"][rows])
    torch.testing.assert_close(part.eps_linf, every.eps_linf[rows])


def test_mean_weights_and_earlier_distances():
    x, y = points()
    few = {"group": 4, "threats": ("l2:0.1",), "box": BOX, "groups": 1}
    model = linear()
    first = hardness(model, x, y, budget=60, **few)
    # With equal weights for ever, their mean over the steps is the same.
    still = hardness(model, x, y, weights="mean", beta=0.0, distances=first, **few)
    assert torch.equal(still.weights["l2:0.1"], torch.full_like(still.weights["l2:0.1"], 0.25))
    assert still.spread["l2:0.1"]["even"] == 1
    assert still.correlations["l2:0.1", "eps_linf"].tied == len(still.index)
    assert torch.equal(still.eps_linf, first.eps_linf)
    assert still.settings["budget"] == 60
    mean = hardness(model, x, y, weights="mean", distances=first, **few)
    torch.testing.assert_close(mean.weights["l2:0.1"].sum(1), torch.ones(2, dtype=torch.float64))
    with pytest.raises(InputError, match="other images"):
        hardness(model, x, y, distances=first, **{**few, "groups": 2})


def test_a_box_without_end_needs_an_attack_and_another_solver():
    x, y = points()
    few = {"group": 4, "threats": ("l2:0.1",), "groups": 1, "budget": 60}
    with pytest.raises(InputError, match="give attack"):
        hardness(linear(), x, y, box=(-inf, inf), **few)
    found = hardness(
        linear(), x, y, box=(-inf, inf), attack=PGD(loss="cw", steps=4), l2_solver="ddn",
        **few,
    )  # fmt: skip
    assert (found.cw_l2 > 0).all()
    assert "ddn, not C&W" in " ".join(found.table().split())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"group": 1}, "2 images or more"),
        ({"groups": 0}, "1 or more groups"),
        ({"group": 23}, "make the groups smaller"),
        ({"classes": [1, 5]}, "class 5 has 0 images"),
        ({"classes": []}, "at least one class"),
        ({"threats": ()}, "no threat"),
        ({"threats": ("l2:1", "l2:1.0")}, "one threat twice"),
        ({"threats": ("l2:1|linf:0.1",)}, "only an lp ball"),
        ({"budget": 3}, "budget is 3"),
        ({"gamma": -1.0}, "gamma"),
        ({"box": (0.0, 1.0)}, "box"),
    ],
)
def test_refuses(given, message):
    x, y = points()
    with pytest.raises(InputError, match=message):
        hardness(
            linear(),
            x,
            y,
            **{"group": 4, "box": BOX, "budget": 60, **given},
        )


def test_refuses_an_empty_batch():
    x, y = points()
    with pytest.raises(InputError, match="make the groups smaller"):
        hardness(linear(), x[:0], y[:0], box=BOX)


@pytest.fixture(scope="module")
def some():
    x, y = digits(100)
    return hardness(small_net(x), x, y, group=3, threats=("l2:1", Linf(0.1)), budget=60)


def test_told_as_plain_values(some):
    told = json.loads(json.dumps(some.to_dict(), allow_nan=False))
    assert set(told["weights"]) == {"l2:1", "linf:0.1"}
    assert len(told["groups"]) == len(told["eps_linf"]) == len(some.index)
    assert {(p["first"], p["second"]) for p in told["correlations"]} == set(some.correlations)
    assert len(some.correlations) == 6
    assert str(len(some.index)) in repr(some)


def test_table_fits_a_terminal(some):
    lines = some.table().splitlines()
    assert max(map(len, lines)) <= 80
    for name, label in zip(some.names, some.labels.tolist(), strict=True):
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
        assert name[0] == str(label)
    unfound = replace(some, cw_l2=torch.full_like(some.cw_l2, inf))
    assert "–*" in unfound.table()  # nothing found: all are hardest
    assert unfound.correlations["cw_l2", "eps_linf"].tied == len(some.index)
    json.dumps(unfound.to_dict(), allow_nan=False)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("show", [None, [], [0]])
def test_figure(some, tmp_path, suffix, show):
    path = some.figure(tmp_path / "in" / f"hardness{suffix}", show)
    assert path.stat().st_size > 5000


def test_figures_of_other_shapes(some, tmp_path):
    g, m = some.index.shape
    for shape in ((7,), (3, 6, 5), (2, 2, 2, 2)):
        other = replace(some, images=torch.rand(g, m, *shape), eps_linf=some.eps_linf + inf)
        assert other.figure(tmp_path / "other.png").exists()


def test_figure_refuses(some, tmp_path):
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        some.figure(tmp_path / "hardness.gif")
    with pytest.raises(InputError, match="no such group"):
        some.figure(tmp_path / "hardness.png", [len(some.index)])
