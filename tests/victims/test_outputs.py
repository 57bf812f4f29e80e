"""What models return: every form is the same logits, or one line that says what it is instead."""

import copy
from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.attacks import FGSM, PGD
from hauberk.errors import HauberkWarning, InputError
from hauberk.threats import Linf
from hauberk.victims.outputs import as_logits
from hauberk.victims.victim import Victim

Outputs = namedtuple("Outputs", "logits aux_logits")


class Of(nn.Module):
    """A linear network behind which a function makes the output."""

    def __init__(self, answer, classes=3):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, classes)
        self.answer = answer

    def forward(self, x):
        return self.answer(self.linear(x))


X = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
FORMS = {
    "object": lambda z: SimpleNamespace(logits=z, hidden_states=None),
    "named tuple": lambda z: Outputs(z, z * 2),
    "mapping": lambda z: OrderedDict(loss=None, logits=z, features=z.exp()),
    "tuple": lambda z: (z, z.exp()),
    "loss first": lambda z: (z.sum(), z, z.exp()),
    "list": lambda z: [z],
    "nested": lambda z: (SimpleNamespace(logits=z), "more"),
    "only table": lambda z: {"out": z, "features": z[:, :, None, None]},
    "wide image": lambda z: z[:, :, None, None],
    "frozen": lambda z: z,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_logits_and_gradient(name):
    plain, other = Victim(Of(lambda z: z)), Victim(Of(FORMS[name]))
    assert torch.equal(other.predict(X), plain.predict(X))
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    found = [PGD(steps=3)(v, X, y, Linf(0.2)).points for v in (plain, other)]
    assert torch.equal(*found)
    soft = [PGD(steps=3, soften=0.1)(v, X, y, Linf(0.2)).points for v in (plain, other)]
    assert torch.equal(*soft)


@pytest.mark.parametrize("shape", [lambda z: z, lambda z: z[:, 0], lambda z: (z[:, 0], z)])
def test_one_logit_is_class_1_of_two(shape):
    victim = Victim(Of(shape, classes=1))
    z = Of(lambda z: z, classes=1)(X).detach()
    assert torch.equal(victim.predict(X), torch.cat([torch.zeros_like(z), z], 1))
    assert victim.single
    y = (z[:, 0] > 0).long()
    points = FGSM()(victim, X, y, Linf(0.3), stop=False).points
    step = torch.where(y == 1, -1.0, 1.0)[:, None] * victim.model.linear.weight.sign() * 0.3
    torch.testing.assert_close(points, (X + step).clamp(0, 1))


def test_a_binary_net_is_evaluated_by_the_sign_of_its_logit():
    model = Of(lambda z: z, classes=1)
    with torch.no_grad():
        model.linear.bias -= model(X).median()
    z = model(X).detach()[:, 0]
    y = (z > z.median()).long()
    found = hb.evaluate(model, X, y, "linf:0.05", suite="fast")
    assert found.clean_accuracy == pytest.approx(((z > 0).long() == y).float().mean().item())
    way = torch.where(y == 1, -0.05, 0.05)[:, None] * model.linear.weight.sign()
    worst = model((X + way).clamp(0, 1)).detach()[:, 0]
    stands = torch.where(y == 1, worst > 0, worst < 0)
    assert 0 < stands.sum() < len(y)
    assert found.union_accuracy == pytest.approx(stands.float().mean().item())


@pytest.mark.parametrize(
    ("out", "count", "wanted"),
    [
        (torch.arange(3.0), 1, [[0, 1, 2]]),
        (torch.tensor(2.0), 1, [[0, 2]]),
        (torch.tensor([[2]]).float(), 1, [[0, 2]]),
        (torch.tensor([[1, 5]]), 1, [[1, 5]]),
        (torch.tensor([[True, False]]), 1, [[1, 0]]),
        (torch.ones(2, 3, 1), 2, [[1, 1, 1]] * 2),
    ],
)
def test_shapes_and_types_that_are_logits(out, count, wanted):
    found = as_logits(out, count).values
    assert found.tolist() == wanted
    assert found.is_floating_point()


@pytest.mark.parametrize(
    ("out", "says"),
    [
        (torch.zeros(2, 5, 8, 8), "as in segmentation"),
        ({"out": torch.zeros(2, 5, 8, 8), "aux": torch.zeros(2, 5, 8, 8)}, "as in segmentation"),
        (SimpleNamespace(logits=torch.zeros(2, 5, 8, 8)), "as in segmentation"),
        (torch.zeros(2, 7, 5), "a row of predictions for each"),
        ([{"boxes": torch.zeros(3, 4), "scores": torch.zeros(3)}] * 2, "as in detection"),
        (SimpleNamespace(logits=torch.zeros(2, 9, 5), pred_boxes=torch.zeros(2, 9, 4)), "boxes"),
        (torch.tensor([1, 0]), "as class ids are"),
        (torch.tensor([[1], [0]]), "as class ids are"),
        (torch.zeros(2, 3, dtype=torch.complex64), "complex64"),
        (torch.zeros(2, 3).to_sparse(), "torch.sparse_coo"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(2, 3)}, "a dict of 'a', 'b'"),
        ({}, "a dict of"),
        ((), "returned a tuple"),
        ("cat", "returned a str"),
        (None, "returned a NoneType"),
        (torch.zeros(3, 4), r"shape \(3, 4\) for 2 inputs"),
        (torch.zeros(()), r"shape \(\) for 2 inputs"),
    ],
)
def test_what_is_no_table_of_logits(out, says):
    with pytest.raises(InputError, match=says) as caught:
        as_logits(out, 2)
    assert "\n" not in str(caught.value)


def test_a_first_tensor_that_may_be_the_wrong_one(caplog):
    wide = Victim(Of(lambda z: (z.repeat(1, 4), z)))
    with pytest.warns(HauberkWarning, match="several tables, of 12 and 3 columns"):
        wide.predict(X)
    wide.predict(X)  # once
    narrow = Victim(Of(lambda z: (z, z.repeat(1, 4))))
    with caplog.at_level("INFO", "hauberk"):
        narrow.predict(X)
        narrow.predict(X)
    assert caplog.text.count("its first tensor is read as the logits") == 1
    labelled = Victim(Of(lambda z: (z.repeat(1, 4), z)))
    labelled.top_label = 5  # more classes than the narrower has
    labelled.predict(X)


@pytest.mark.parametrize("how", [torch.no_grad, torch.inference_mode])
def test_outputs_without_a_gradient_are_still_judged(how, caplog):
    class Blind(Of):
        def forward(self, x):
            with how():
                return super().forward(x)

    victim = Victim(Blind(lambda z: z))
    assert torch.equal(victim.predict(X), Victim(Of(lambda z: z)).predict(X))
    y = torch.zeros(6, dtype=torch.long)
    with caplog.at_level("INFO", "hauberk"):
        found = FGSM()(victim, X, y, Linf(0.1), stop=False)
        FGSM()(victim, X, y, Linf(0.1), stop=False)
    assert torch.equal(found.points, X)
    assert caplog.text.count("output has no gradient") == 1


def test_outputs_with_a_gradient_are_not_said_to_have_none(caplog):
    with caplog.at_level("INFO", "hauberk"):
        FGSM()(Victim(Of(lambda z: z)), X, torch.zeros(6, dtype=torch.long), Linf(0.1))
    assert "no gradient" not in caplog.text


def test_weights_of_inference_mode_are_refused():
    with torch.inference_mode():
        model = Of(lambda z: z)
    with pytest.raises(InputError, match="inference_mode"):
        Victim(model)
    plain = Victim(copy.deepcopy(model))
    assert FGSM()(plain, X, torch.zeros(6, dtype=torch.long), Linf(0.1)).points.shape == X.shape


def test_a_probability_is_no_logit():
    y = torch.tensor([0, 1] * 3)
    with pytest.raises(InputError, match="without the sigmoid"):
        hb.evaluate(Of(torch.sigmoid, classes=1), X, y, "linf:0.1", suite="fast")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_inputs_and_models_of_other_dtypes(dtype):
    y = torch.tensor([0, 1, 2] * 2)
    for inputs, model in ((X.to(dtype), Of(lambda z: z)), (X, Of(lambda z: z).to(dtype))):
        found = hb.evaluate(model, inputs, y, "linf:0.05", suite="fast")
        wanted = (model(inputs.to(model.linear.weight.dtype)).argmax(1) == y).float().mean()
        assert found.clean_accuracy == pytest.approx(wanted.item())


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_integer_scores(dtype):
    model = Of(lambda z: (100 * (z + 1)).round().to(dtype))
    y = torch.tensor([0, 1, 2] * 2)
    with pytest.warns(HauberkWarning):
        found = hb.evaluate(model, X, y, "linf:0.05", suite="fast")
    scores = model(X).double()
    wins = (scores.gather(1, y[:, None]) > scores.scatter(1, y[:, None], -1)).all(1)
    assert found.clean_accuracy == pytest.approx(wins.float().mean().item())
