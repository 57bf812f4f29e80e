"""Random numbers that depend on seed and example alone."""

import pytest
import torch

from hauberk.maths.rng import Draws

IDS = torch.tensor([5, 0, 123456789, -7, 2**40])


def test_depends_on_seed_id_streams_and_draw_alone():
    all_ = Draws.of(3, IDS, 1, torch.tensor([0, 1, 2, 3, 4]))
    order = torch.tensor([4, 2, 0, 1, 3])
    for make in (
        lambda d, draw: d.uniform(draw, (2, 3)),
        lambda d, draw: d.normal(draw, (2, 3)),
        lambda d, draw: d.integers(draw, (2, 3), 10),
    ):
        numbers = make(all_, 7)
        assert torch.equal(make(all_.take(order), 7), numbers[order])
        for i, id_ in enumerate(IDS.tolist()):
            alone = Draws.of(3, torch.tensor([id_]), 1, i)
            assert torch.equal(make(alone, 7), numbers[i : i + 1])
        draws = torch.tensor([7, 8, 7, 9, 7])
        mixed = make(all_, draws)
        assert torch.equal(mixed[draws == 7], numbers[draws == 7])
        assert not torch.equal(mixed[1], numbers[1])


def test_one_number_is_the_same_whatever_the_shape():
    draws = Draws.of(0, IDS)
    assert torch.equal(draws.bits(2, (3,)), draws.bits(2, (5, 7)).flatten(1)[:, :3])


def test_everything_that_may_differ_makes_a_difference():
    def numbers(seed=0, id_=0, stream=0, number=0, draw=0, split=0):
        draws = Draws.of(seed, torch.tensor([id_]), stream, torch.tensor([number]))
        return tuple(draws.split(split).bits(draw, (4,))[0].tolist())

    names = ["seed", "id_", "stream", "number", "draw", "split"]
    seen = [numbers()] + [numbers(**{name: v}) for name in names for v in (1, 2, 1000, 2**31)]
    flat = [bit for row in seen for bit in row]
    assert len(set(flat)) == len(flat)


@pytest.mark.parametrize("seed", [0, 1, -1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)])
def test_any_seed(seed):
    keys = Draws.of(seed, torch.arange(3)).key
    assert len(set(keys.tolist())) == 3
    assert not torch.equal(keys, Draws.of(seed + 1, torch.arange(3)).key)


def test_no_two_examples_share_a_key():
    n = 100_000
    keys = [Draws.of(seed, torch.arange(n), 0, a).key for seed in (0, 1) for a in (0, 1)]
    assert len(torch.cat(keys).unique()) == 4 * n


def test_ids_of_any_integer_type():
    assert torch.equal(Draws.of(1, IDS[:3].int()).key, Draws.of(1, IDS[:3]).key)


def test_uniform_moments_and_independence():
    u = Draws.of(0, torch.arange(1000)).uniform(0, (200,), torch.float64)
    assert float(u.mean()) == pytest.approx(1 / 2, abs=0.003)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.001)
    assert float(((u - 0.5) ** 4).mean()) == pytest.approx(1 / 80, abs=0.0003)
    centred = (u - 0.5).mul(12**0.5)
    # neighbours in a row, and neighbouring examples, and neighbouring draws
    other = Draws.of(0, torch.arange(1000)).uniform(1, (200,), torch.float64).sub(0.5).mul(12**0.5)
    for a, b in (
        (centred[:, 1:], centred[:, :-1]),
        (centred[1:], centred[:-1]),
        (centred, other),
    ):
        assert float((a * b).mean()) == pytest.approx(0, abs=0.01)
    counts = torch.histc(u, bins=64, min=0, max=1)
    chi2 = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
    assert 25 < chi2 < 120  # 63 degrees of freedom


def test_normal_moments():
    z = Draws.of(4, torch.arange(1000)).normal(0, (200,), torch.float64)
    for power, expected in enumerate((1, 0, 1, 0, 3, 0, 15)):
        assert float((z**power).mean()) == pytest.approx(expected, abs=0.06 * max(1, expected))
    assert float((z.abs() < 1).double().mean()) == pytest.approx(0.6827, abs=0.004)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_is_open_at_both_ends(dtype, monkeypatch):
    draws = Draws.of(0, torch.arange(1))
    ends = torch.tensor([[0, -1, -(2**63), 2**63 - 1]])
    monkeypatch.setattr(Draws, "bits", lambda self, draw, shape: ends)
    u = draws.uniform(0, (4,), dtype)
    assert u.dtype == dtype
    assert (u > 0).all()
    assert (u < 1).all()
    assert draws.normal(0, (4,), dtype).isfinite().all()


def test_integers():
    n = Draws.of(0, torch.arange(500)).integers(0, (100,), 7)
    assert n.dtype == torch.int64
    shares = torch.bincount(n.flatten(), minlength=7) / n.numel()
    assert len(shares) == 7
    torch.testing.assert_close(shares, torch.full((7,), 1 / 7), atol=0.005, rtol=0)


def test_nobody_and_no_shape():
    assert Draws.of(0, torch.empty(0, dtype=torch.int64)).uniform(0, (3,)).shape == (0, 3)
    assert Draws.of(0, torch.arange(4)).uniform(0, ()).shape == (4,)


def test_global_generator_is_not_touched():
    before = torch.get_rng_state()
    Draws.of(0, torch.arange(4)).normal(0, (3,))
    assert torch.equal(torch.get_rng_state(), before)
