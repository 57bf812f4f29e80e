"""What attacks see of inputs: the features that may change, and the way back."""

import torch

from hauberk.threats.view import View, rows_of

ENDS = torch.zeros(()), torch.ones(())


def test_a_rectangle_keeps_its_shape_and_others_are_flat():
    x = torch.rand(2, 2, 3, 4)
    free = torch.zeros(1, 2, 3, 4, dtype=torch.bool)
    free[:, :, 1:, :2] = True
    view = View.of(x, free, None, ENDS)
    assert view.shape == (2, 2, 2)
    assert torch.equal(view.start(), x[:, :, 1:, :2])
    free[0, 0, 0, 3] = True
    view = View.of(x, free, None, ENDS)
    assert view.shape == (9,)
    assert torch.equal(view.inputs(view.start()), x)


def test_the_way_back_is_exact_at_the_clean_inputs_and_passes_gradients():
    x = torch.rand(5, 6)
    scale = torch.rand(1, 6, dtype=torch.float64) + 0.1
    view = View.of(x, torch.tensor([[True, False, True, True, False, True]]), scale, ENDS)
    u = view.start().requires_grad_()
    back = view.inputs(u)
    assert torch.equal(back, x)
    (grad,) = torch.autograd.grad((back * torch.arange(6.0)).sum(), u)
    expected = (torch.arange(6.0) * scale[0].float())[[0, 2, 3, 5]]
    torch.testing.assert_close(grad, expected.expand(5, 4))
    torch.testing.assert_close(view.pulled_back(torch.arange(6.0).expand(5, 6)), grad)


def test_rows_that_differ_are_taken_and_joined():
    x = torch.rand(3, 4)
    free = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]]).bool()
    view = View.of(x, free, None, ENDS, own=True)
    again = view.take(torch.tensor([2])).join(view.take(torch.tensor([0, 1])))
    u = again.start() + 1
    moved = again.inputs(u) - x[[2, 0, 1]]
    assert torch.equal(moved.bool(), free[[2, 0, 1]])
    assert torch.equal(view.pulled_back(torch.ones(3, 4)), free.float())
    lo, hi = view.edges()
    assert torch.equal(lo == hi, ~free)
    part = View.of(x, free[:1], None, ENDS)
    assert part.take(torch.tensor([1])).join(part.take(torch.tensor([0]))).start().shape == (2, 2)


def test_changes_are_measured_in_units_and_others_are_illegal():
    x = torch.full((2, 2), 0.5)
    view = View.of(x, torch.tensor([[True, False]]), torch.tensor([[0.5, 0.0]]).double(), ENDS)
    change, illegal = view.change(torch.tensor([[0.75, 0.5], [0.5, 0.6]]))
    assert change[0].tolist() == [0.5, 0.0]
    assert illegal.tolist() == [False, True]
    assert view.in_ends(torch.tensor([[1.0, 0.5], [1.1, 0.5]])).tolist() == [True, False]


def test_rows_of_an_array():
    value = torch.arange(4)
    assert rows_of(value, torch.tensor([3, 1]), 2, "mask").tolist() == [3, 1]
    assert rows_of(value[:1], None, 3, "mask").tolist() == [0]
