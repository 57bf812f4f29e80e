import sys

import pytest
import torch
from helpers.models import Of, Wrapped
from torch import nn

from hauberk.attacks import PGD
from hauberk.engine.outcome import Outcome
from hauberk.evaluation.core.judge import (
    DomainJudge,
    RadiusJudge,
    decide,
    full_precision,
    judge,
)
from hauberk.objectives.domains import Domain
from hauberk.threats import L0, L1, L2, Box, Each, Linf, Lp, Metric, RotationTranslation, Shared
from hauberk.threats.affine import Affine
from hauberk.threats.finite import Swaps
from hauberk.victims.victim import Victim

NAN, INF = float("nan"), float("inf")
BALLS = [Linf(0.25), Linf(8 / 255), L2(0.25), L1(0.25), Lp(1.5, 0.25), Lp(3, 0.25)]


class Says(nn.Module):
    """Row i of a batch gets row i of a table, whatever it holds."""

    def __init__(self, rows, dtype=torch.float32):
        super().__init__()
        self.register_buffer("rows", torch.tensor(rows, dtype=dtype))

    def forward(self, x):
        return self.rows[: len(x)]


def sums():
    """Decides for class 1 where the features sum to more than 1."""

    def logits(x):
        total = x.flatten(1).sum(1)
        return torch.stack([1 - total, total - 1], 1)

    return Of(logits)


def judged(rows, labels, dtype=torch.float32):
    x = torch.full((len(rows), 4), 0.5)
    y = torch.tensor(labels)
    return judge(Victim(Says(rows, dtype)), Linf(0.1), x, x, y, Box())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_who_is_wrong(dtype):
    table = [
        ([2.0, 1.0, 0.0], 0, False, 1.0),
        ([2.0, 1.0, 0.0], 1, True, -1.0),
        ([1.0, 1.0, 0.0], 0, True, 0.0),  # a tie is broken, whoever argmax prefers
        ([1.0, 1.0, 0.0], 1, True, 0.0),
        ([NAN, 1.0, 0.0], 0, True, NAN),
        ([1.0, NAN, 0.0], 0, True, NAN),
        ([NAN, NAN, NAN], 2, True, NAN),
        ([INF, 0.0, 0.0], 0, False, 1e30),
        ([INF, INF, 0.0], 0, True, 0.0),
        ([-INF, -INF, -INF], 0, True, 0.0),
        ([0.0, -INF, -INF], 0, False, 1e30),
    ]
    verdict = judged([row for row, *_ in table], [label for _, label, *_ in table], dtype)
    expected = [wrong for *_, wrong, _ in table]
    assert verdict.wrong.tolist() == expected
    assert verdict.broken.tolist() == expected
    assert verdict.allowed.all()
    assert verdict.margin.dtype == torch.float64
    torch.testing.assert_close(
        verdict.margin, torch.tensor([m for *_, m in table]).double(), equal_nan=True
    )


def test_the_prediction_is_the_largest_logit():
    verdict = judged([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]], [1, 1])
    assert verdict.prediction.tolist() == [0, 2]


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize("share", [1 + 1e-9, 1 + 1e-12])
def test_a_hair_out_of_the_ball_is_not_allowed(ball, share):
    x0 = torch.zeros(3, 4, dtype=torch.float64)
    way = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    sizes = torch.tensor([ball.eps, ball.eps * share, ball.eps / share], dtype=torch.float64)
    x = x0 + way * sizes.unsqueeze(1)
    y = torch.ones(3, dtype=torch.int64)  # they sum to less than 1: all are wrong
    verdict = judge(Victim(sums().double()), ball, x0, x, y, Box())
    assert verdict.wrong.all()
    assert verdict.allowed.tolist() == [True, False, True]
    assert torch.equal(verdict.broken, verdict.allowed)
    torch.testing.assert_close(verdict.distance, (x - x0).sum(1), rtol=1e-15, atol=0)


def test_a_feature_too_many_is_not_allowed():
    x0, x = torch.zeros(2, 5), torch.zeros(2, 5)
    x[0, :2] = 0.01
    x[1, :3] = 1e-30
    verdict = judge(Victim(sums()), L0(2), x0, x, torch.ones(2, dtype=torch.int64), Box())
    assert verdict.allowed.tolist() == [True, False]
    assert verdict.distance.tolist() == [2, 3]


@pytest.mark.parametrize("ball", [*BALLS, L0(2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_ulp_out_of_the_box_is_not_allowed(ball, dtype):
    x0 = torch.tensor([[0.0, 0.5], [1.0, 0.5], [0.0, 0.5]], dtype=dtype)
    x = x0.clone()
    x[0, 0] = x0[0, 0].nextafter(torch.tensor(-1.0, dtype=dtype))
    x[1, 0] = x0[1, 0].nextafter(torch.tensor(2.0, dtype=dtype))
    y = torch.zeros(3, dtype=torch.int64)
    verdict = judge(Victim(sums().to(dtype)), ball, x0, x, y, Box())
    assert verdict.allowed.tolist() == [False, False, True]
    assert not verdict.broken[:2].any()


def test_a_box_of_its_own_for_each_feature():
    box = Box(torch.tensor([-1.0, 0.0]), torch.tensor([0.0, 5.0]))
    x0 = torch.tensor([[-1.0, 5.0], [0.0, 1.0], [0.0, 1.0]])
    x = torch.tensor([[-0.9, 4.9], [0.1, 1.0], [-0.1, 1.1]])
    y = torch.zeros(3, dtype=torch.int64)
    assert judge(Victim(sums()), Linf(0.2), x0, x, y, box).allowed.tolist() == [True, False, True]


def test_points_that_are_no_numbers_are_not_allowed():
    x0 = torch.full((2, 3), 0.5)
    x = x0.clone()
    x[0, 0], x[1, 0] = NAN, INF
    verdict = judge(Victim(sums()), L2(10), x0, x, torch.zeros(2, dtype=torch.int64), Box())
    assert not verdict.allowed.any()
    assert not verdict.broken.any()


def test_distance_is_taken_in_float64():
    """Ten thousand float32 changes whose float32 sum is off."""
    x0 = torch.full((1, 10_000), 0.1)
    x = torch.full((1, 10_000), 0.1 + 1e-4)
    exact = float((x.double() - x0.double()).sum())
    found = judge(Victim(sums()), L1(exact), x0, x, torch.tensor([0]), Box())
    assert found.distance.dtype == torch.float64
    assert float(found.distance) == pytest.approx(exact, rel=1e-14)
    assert not judge(
        Victim(sums()), L1(exact * (1 - 1e-9)), x0, x, torch.tensor([0]), Box()
    ).allowed.any()


def test_wrong_and_allowed_make_broken():
    x0 = torch.full((4, 2), 0.5)
    x = torch.tensor([[0.6, 0.6], [0.9, 0.9], [0.4, 0.4], [0.1, 0.1]])
    verdict = judge(Victim(sums()), Linf(0.2), x0, x, torch.zeros(4, dtype=torch.int64), Box())
    assert verdict.wrong.tolist() == [True, True, False, False]
    assert verdict.allowed.tolist() == [True, False, True, False]
    assert verdict.broken.tolist() == [True, False, False, False]


def test_rows_can_be_taken():
    verdict = judged([[2.0, 1.0], [0.0, 1.0]], [0, 0])
    assert verdict.take(torch.tensor([1])).wrong.tolist() == [True]


@pytest.mark.parametrize("numbers", [1, 7, 30, 10**6])
@pytest.mark.parametrize(
    "threat",
    [*BALLS, L0(2), RotationTranslation(20, 1), Swaps(4), Affine(Swaps(4), L2(0.5))],
    ids=str,
)
def test_in_parts_it_is_the_same(threat, numbers, monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    x, y = torch.rand(11, 1, 4, 4, dtype=torch.float64), torch.arange(11) % 3
    found = PGD(steps=2, random_start=True)(model, x, y, threat, stop=False)
    points = torch.cat([found.points[:6], torch.rand(5, 1, 4, 4, dtype=torch.float64)])
    given = (Victim(model), threat, x, points, y, Box(), found.witness)
    whole = judge(*given)
    sizes, bind = [], type(threat).at
    monkeypatch.setattr(sys.modules[judge.__module__], "NUMBERS", numbers)
    monkeypatch.setattr(
        type(threat), "at", lambda self, x0, box: (sizes.append(len(x0)), bind(self, x0, box))[1]
    )
    parts = judge(*given)
    assert whole.allowed[:6].all()
    for one, two in zip(vars(whole).values(), vars(parts).values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-15, atol=0)
    assert sum(sizes) == 11
    assert max(sizes) <= -(-numbers // 16)
    if found.witness is not None:
        # A witness too many belongs to another batch.
        many = torch.cat([found.witness, found.witness[:1]])
        assert not judge(*given[:-1], many).allowed.any()


def test_nobody():
    none = torch.empty(0, 3, 4)
    verdict = judge(Victim(sums()), Linf(0.1), none, none, torch.empty(0, dtype=torch.int64), Box())
    assert verdict.broken.shape == verdict.margin.shape == verdict.prediction.shape == (0,)


def test_the_model_is_judged_in_eval_mode_and_left_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 2)).train()
    x = torch.rand(20, 4)
    victim = Victim(model)
    logits, _ = decide(victim, x, torch.zeros(20, dtype=torch.int64))
    torch.testing.assert_close(logits, model[1](x).detach())
    assert model.training
    assert model[0].training
    assert all(p.requires_grad for p in model.parameters())
    assert victim.forwards == 20


def test_autocast_is_off_while_judging_and_on_again():
    model = nn.Linear(64, 10)
    x = torch.rand(8, 64)
    exact = model(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        logits, _ = decide(Victim(model), x, torch.zeros(8, dtype=torch.int64))
        assert torch.is_autocast_enabled("cpu")
        assert model(x).dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("matmul", [False, True])
@pytest.mark.parametrize("cudnn", [False, True])
def test_tf32_is_off_while_judging_and_put_back(matmul, cudnn):
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [f.allow_tf32 for f in flags]
    try:
        flags[0].allow_tf32, flags[1].allow_tf32 = matmul, cudnn
        with full_precision(torch.device("cpu")):
            if hasattr(flags[0], "fp32_precision"):  # then the older flags cannot be read here
                assert flags[0].fp32_precision == flags[1].conv.fp32_precision == "ieee"
            else:
                assert [f.allow_tf32 for f in flags] == [False, False]
        assert [f.allow_tf32 for f in flags] == [matmul, cudnn]
        with pytest.raises(KeyError), full_precision(torch.device("cpu")):
            raise KeyError
        assert [f.allow_tf32 for f in flags] == [matmul, cudnn]
    finally:
        flags[0].allow_tf32, flags[1].allow_tf32 = before


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="newer than this torch"
)
def test_precision_set_by_the_newer_switches_is_full_while_judging_and_put_back():
    backends = torch.backends
    places = [
        backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul,
        backends.mkldnn.conv, backends.mkldnn.rnn,
    ]  # fmt: skip
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32"
        with full_precision(torch.device("cpu")):
            assert {place.fp32_precision for place in places} == {"ieee"}
        assert {place.fp32_precision for place in places} == {"tf32"}
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


# Judges of runs.


def outcome_of(points, fooled):
    none = torch.zeros(len(points), dtype=torch.int64)
    return Outcome(
        points=points, loss=none.double(), fooled=fooled, distance=none.double(), attempt=none,
        forwards=none, backwards=none,
    )  # fmt: skip


def test_radius_judge_moves_points_over_the_boundary():
    """Only those that the solver calls adversarial; the others have no radius."""
    x0 = torch.tensor([[0.2, 0.2], [0.2, 0.2], [0.2, 0.2]]).double()
    near = 0.5 - 1e-6  # the model computes in float32
    points = torch.tensor([[near, near], [near, near], [torch.nan, 0.5]]).double()
    y, ids = torch.zeros(3, dtype=torch.int64), torch.arange(3)
    found = outcome_of(points, torch.tensor([True, False, True]))
    judge_ = RadiusJudge(Victim(sums()), Box())
    moved, verdict = judge_(Metric(2.0), x0, found, y, ids)
    assert verdict.broken.tolist() == [True, False, False]
    assert verdict.distance[0] == pytest.approx(0.3 * 2**0.5, rel=1e-5)
    assert verdict.distance[1:].isinf().all()
    assert float(moved.points[0].sum()) > 1 > float(moved.points[1].sum())
    assert torch.equal(found.points.nan_to_num(), points.nan_to_num())


def test_radius_judge_moves_points_by_rounding_only():
    """A point that leaves the box is no point; a claim that is off by a thousandth is none."""
    x0 = torch.tensor([[0.2, 0.2], [0.6, 0.6], [0.6, 0.6]]).double()
    points = torch.tensor([[0.4997, 0.4997], [-0.2, 1.0], [0.0, 1.2]]).double()
    y, ids = torch.tensor([0, 1, 1]), torch.arange(3)
    judge_ = RadiusJudge(Victim(sums()), Box())
    moved, verdict = judge_(Metric(2.0), x0, outcome_of(points, torch.ones(3).bool()), y, ids)
    assert not verdict.broken.any()
    assert verdict.distance.isinf().all()
    assert torch.equal(moved.points[1:], points[1:])
    assert (moved.points[0] - points[0]).abs().max() < 1e-5


def test_domain_judge_draws_anew_for_every_domain_and_number():
    seen = []

    def noise(x, draws, draw):
        seen.append(draws.uniform(draw, (4,)))
        return x

    noise.random = True
    victim = Victim(sums())
    domains = [Domain(model=victim, transform=noise, name=name) for name in "ab"]
    x0 = torch.full((3, 2), 0.4)
    y, ids = torch.zeros(3, dtype=torch.int64), torch.arange(3)
    DomainJudge(domains, Box(), seed=1, draws=2).decisions(x0, y, ids)
    rows = torch.cat(seen)
    assert len(rows) == 2 * 2 * 3
    assert len(rows.unique(dim=0)) == len(rows)


def test_domain_judge_wants_every_domain_fooled():
    victims = [Victim(sums()), Victim(Wrapped(sums(), after=torch.neg))]
    domains = [Domain(model=v, name=n) for v, n in zip(victims, "ab", strict=True)]
    judge_ = DomainJudge(domains, Box())
    x0 = torch.full((2, 2), 0.4).double()
    y, ids = torch.tensor([0, 0]), torch.arange(2)
    clean = judge_.clean(x0, y, ids)
    assert clean.correct.tolist() == [False, False]  # b is wrong
    assert clean.margin.tolist() == pytest.approx([-0.4, -0.4])
    verdict = judge_.look(Linf(0.2), x0, x0 + 0.15, y, ids)
    assert verdict.domains.tolist() == [[[True, False]]] * 2
    assert not verdict.broken.any()
    assert verdict.margin.tolist() == pytest.approx([0.2, 0.2])
    alone = DomainJudge(domains[:1], Box())
    assert alone.look(Linf(0.2), x0, x0 + 0.15, y, ids).broken.all()
    outside = alone.look(Linf(0.1), x0, x0 + 0.15, y, ids)
    assert not outside.broken.any()
    assert not outside.domains.any()


def test_domain_judge_lets_one_of_several_threats_do():
    judge_ = DomainJudge([Domain(model=Victim(sums()))], Box(), each=2)
    x0 = torch.full((1, 2), 0.4).double()
    threat = Each(Linf(0.05), Linf(0.2))
    points = torch.stack([x0 + 0.04, x0 + 0.15], 1)
    verdict = judge_.look(threat, x0, points, torch.tensor([0]), torch.arange(1))
    assert verdict.domains.tolist() == [[[False, True]]]
    assert verdict.broken.tolist() == [True]


def test_domain_judge_wants_a_whole_group_fooled():
    judge_ = DomainJudge([Domain(model=Victim(sums()))], Box())
    x0 = torch.tensor([[[0.4, 0.4], [0.2, 0.2]], [[0.4, 0.4], [0.45, 0.45]]]).double()
    y, ids = torch.zeros(2, 2, dtype=torch.int64), torch.arange(4).view(2, 2)
    verdict = judge_.look(Shared(Linf(0.2)), x0, x0 + 0.15, y, ids)
    assert verdict.domains.tolist() == [[[True, False]], [[True, True]]]
    assert verdict.broken.tolist() == [False, True]
    assert judge_.clean(x0, y, ids).tensors["ids"].tolist() == [[0, 1], [2, 3]]
