"""What a universal perturbation breaks."""

import pytest
import torch
from helpers.universal import data, summing

import hauberk as hb


def test_a_small_ball_breaks_what_it_can():
    x, y = data(40, 0.3, 0.49)
    found = hb.universal(summing(), x, y, "linf:0.05", epochs=4, minibatch=10)
    broken = x.flatten(1).sum(1) + 4 * 0.05 >= 2
    assert found.summary["accuracy"] == pytest.approx(1 - float(broken.double().mean()))
    assert found.summary["interval"][0] < found.summary["accuracy"] < found.summary["interval"][1]
    assert torch.equal(found.test(summing(), x, y).wrong, broken)
    assert "linf:0.05" in found.table()
    assert str(found) == found.table()


def test_another_shape_is_refused():
    found = hb.universal(summing(), *data(), "linf:0.1", epochs=1)
    with pytest.raises(hb.InputError, match="its own shape"):
        found.test(summing(), torch.rand(2, 4).double(), torch.zeros(2, dtype=torch.int64))
