"""Exported graphs, and functions for batches of one size."""

import pytest
import torch
from torch import nn

from hauberk.maths.modules import eval_mode, exact_batch, exported, in_batches, trained_parts


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(8, 3),
    )  # fmt: skip


X = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def graphs():
    dims = ({0: torch.export.Dim("b")},)
    return {
        "static": torch.export.export(net().eval(), (X,)).module(),
        "any": torch.export.export(net().eval(), (X,), dynamic_shapes=dims).module(),
        "trained": torch.export.export(net().train(), (X,)).module(),
    }


def test_exported_graphs_are_known(graphs):
    wrapped = nn.Sequential(nn.Identity(), graphs["static"])
    assert [part is graphs["static"] for part in exported(wrapped)] == [True]
    assert not list(exported(net()))
    assert not list(exported(torch.fx.symbolic_trace(net())))
    assert [exact_batch(m) for m in (wrapped, graphs["any"], net())] == [4, None, None]


def test_eval_mode_of_what_has_none(graphs):
    wrapped = nn.Sequential(nn.Dropout(), graphs["static"])
    assert eval_mode(wrapped) is wrapped
    assert not any(part.training for part in wrapped.modules())

    class Odd(nn.Module):
        def train(self, mode=True):
            raise NotImplementedError("own")

    with pytest.raises(NotImplementedError, match="own"):
        eval_mode(Odd())


def test_parts_exported_in_train_mode(graphs):
    assert trained_parts(graphs["trained"]) == ["batch_norm", "dropout"]
    assert trained_parts(graphs["static"]) == trained_parts(net()) == []


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 9])
def test_batches_of_one_size(graphs, count):
    x = torch.rand(count, 1, 4, 4)
    sizes = []

    def run(rows):
        sizes.append(len(rows))
        return graphs["static"](rows)

    found = in_batches(run, x, 4)
    torch.testing.assert_close(found, graphs["any"](x) if count else found)
    assert found.shape == (count, 3)
    assert set(sizes) == {4}


def test_gradients_through_batches_of_one_size(graphs):
    x = torch.rand(3, 1, 4, 4)
    grads = []
    for run in (graphs["any"], lambda given: in_batches(graphs["static"], given, 4)):
        u = x.clone().requires_grad_(True)
        grads.append(torch.autograd.grad(run(u)[:, 0].sum(), u)[0])
    torch.testing.assert_close(*grads)
