"""Normalisation inside the model."""

import pytest
import torch

import hauberk as hb
from hauberk import models
from hauberk.errors import InputError
from hauberk.exact import radius as exact_radius
from hauberk.models.normalised import NormalisedModel, behind, standardise


@pytest.mark.parametrize("factory", [models.kwsmall_cifar10, models.cnn_a_cifar10, models.ResNet4B])
def test_normalisation_is_inside_and_not_in_the_state_dict(factory):
    model = factory()
    x = torch.rand(2, 3, 32, 32)
    mean, std = model.mean.flatten(), model.std.flatten()
    expected = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(model.normalise(x), expected)
    assert not {"mean", "std"} & model.state_dict().keys()


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.5,), (0.2,), "3 channels"),
        ((0.5, 0.5, 0.5), (0.2,), "equally many"),
        ((0.5, 0.5, 0.5), (0.2, 0.0, 0.2), "above 0"),
    ],
)
def test_normalisation_that_does_not_fit(mean, std, says):
    with pytest.raises(InputError, match=says):
        models.kwsmall_cifar10(mean, std)


CIFAR = (3, 32, 32)


SMALL = {
    "preact": models.PreActResNet18,
    "wide": lambda **more: models.WideResNet(10, 1, **more),
}


@pytest.mark.parametrize("name", SMALL)
def test_normalisation_is_the_same_as_that_of_the_input(name):
    x, mean, std = torch.rand(2, *CIFAR), [0.1, 0.5, 0.9], [0.2, 0.3, 0.4]
    torch.manual_seed(0)
    plain = SMALL[name]().eval()
    for more, before in (
        ({"per_image": True}, standardise(x)),
        (
            {"mean": mean, "std": std},
            (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None],
        ),
    ):
        model = SMALL[name](**more).eval()
        model.load_state_dict(plain.state_dict(), strict=True)
        torch.testing.assert_close(model(x), plain(before))


def test_standardised_images_have_mean_0_and_variance_1():
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64) * 0.3 + 0.1
    flat = standardise(x).flatten(1)
    zeros = torch.zeros(4, dtype=torch.float64)
    torch.testing.assert_close(flat.mean(1), zeros)
    torch.testing.assert_close(flat.var(1, correction=0), zeros + 1)
    torch.testing.assert_close(standardise(2 * x + 3), standardise(x))  # whatever the contrast


def test_flat_images_are_standardised_by_the_bound():
    """The bound is 1 / sqrt(d): for x = (a, -a) below it, x * sqrt(2)."""
    x = torch.tensor([[0.01, -0.01], [0.7, 0.7]], dtype=torch.float64, requires_grad=True)
    found = standardise(x)
    expected = torch.tensor([[0.01, -0.01], [0.0, 0.0]], dtype=torch.float64) * 2**0.5
    torch.testing.assert_close(found.detach(), expected)
    (found[:, 0].sum()).backward()
    assert x.grad.isfinite().all()
    assert standardise(torch.rand(0, 3, 4, 4)).shape == (0, 3, 4, 4)


def test_standardisation_has_the_right_slope():
    x = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(standardise, x)


def linear(features=12, classes=3):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(features, classes)).double()


@pytest.mark.parametrize(
    ("shape", "mean"),
    [((3, 2, 2), [0.485, 0.456, 0.406]), ((12,), [0.1 * k for k in range(12)]), ((3, 2, 2), 0.5)],
)
def test_a_model_behind_a_normalisation_is_the_same_on_inputs_themselves(shape, mean):
    """Sizes are those of the inputs: a linear model's margin falls by eps times |w / std|."""
    net, x = linear(), 0.3 + 0.4 * torch.rand(20, *shape, dtype=torch.float64)
    model = hb.models.normalised(net, mean, 0.25)
    by = torch.as_tensor(mean, dtype=torch.float64)
    over = by.view(-1, 1, 1) if len(shape) == 3 and by.dim() else by
    with torch.no_grad():  # undecided in the middle of the inputs
        net[1].bias -= model(torch.full_like(x[:1], 0.5))[0]
    torch.testing.assert_close(model(x), net((x - over) / 0.25))
    y = model(x).argmax(1)
    w = net[1].weight.detach() / 0.25
    gap = (model(x).gather(1, y[:, None]) - model(x)).detach()
    length = (w[y][:, None] - w[None]).norm(dim=2)
    least = (gap / length).nan_to_num(nan=torch.inf)
    radii = least.scatter(1, y[:, None], torch.inf).amin(1)
    radii = radii.sort().values[4:16]
    apart = int(radii.diff().argmax())
    eps = float(radii[apart : apart + 2].mean())
    found = hb.evaluate(model, x, y, hb.L2(eps), suite="fast", box=(-99, 99))
    assert found.union_accuracy == (15 - apart) / 20


def test_its_state_dict_is_the_models_behind_one_prefix():
    net = linear()
    model = hb.models.normalised(net, "imagenet")
    assert set(model.state_dict()) == {f"model.{key}" for key in net.state_dict()}
    assert model.mean.dtype == torch.float64
    assert model.model is net
    assert not hb.models.normalised(net.eval(), 0, 1).training


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4, 2), (4,)])
def test_inputs_of_other_channels_are_refused_not_broadcast(shape):
    with pytest.raises(InputError, match="have 3 values but inputs have shape"):
        hb.models.normalised(torch.nn.Flatten(), "imagenet")(torch.rand(2, *shape))


def test_features_may_come_last():
    x = torch.rand(2, 5, 3)
    found = hb.models.normalised(torch.nn.Identity(), (0.1, 0.2, 0.3), 2)(x)
    torch.testing.assert_close(found, (x - torch.tensor([0.1, 0.2, 0.3])) / 2)


def test_the_configuration_of_a_model_decides_unless_the_user_does():
    net, says = linear(), {"mean": [0.5], "std": [0.25]}
    for mean, std, own, by in (
        (None, None, True, (0.5, 0.25)),
        ("auto", None, True, (0.5, 0.25)),
        ("none", None, False, None),
        ("0.1", "0.2", False, (0.1, 0.2)),
    ):
        found, decided = behind(net, says, mean, std, (0, 1), "net")
        assert decided is own
        if by is None:
            assert found is net
        else:
            assert isinstance(found, NormalisedModel)
            assert (*found.by.mean, *found.by.std) == by
    assert behind(net, {}, None, None, (0, 1), "net") == (net, False)
    net.pretrained_cfg = {"mean": (0.3,), "std": (0.4,)}
    assert behind(net, {}, "auto", None, (0, 255), "net")[0].by.mean == pytest.approx((76.5,))
    with pytest.raises(InputError, match="model 'x' has no configuration with a mean and std"):
        behind(torch.nn.Flatten(), {}, "auto", None, (0, 1), "x")
    with pytest.raises(InputError, match="std without mean"):
        behind(net, {}, None, "0.2", (0, 1), "net")


def test_exact_radii_and_layers_by_name_see_through_it():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    model, x = hb.models.normalised(net, (0.4, 0.6), (0.5, 0.25)), torch.rand(3, 2)
    first = torch.nn.Linear(2, 4)
    with torch.no_grad():
        std = torch.tensor([0.5, 0.25])
        first.weight.copy_(net[0].weight / std)
        first.bias.copy_(net[0].bias - net[0].weight @ (torch.tensor([0.4, 0.6]) / std))
    folded = torch.nn.Sequential(first, *net[1:])
    y = model(x).argmax(1)
    mine, plain = (exact_radius(m, x, y).distance for m in (model, folded))
    torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-6)
    threat = hb.threat("perceptual(0):0.5")
    far = threat.of_model(model).distance(x, x + 0.1)
    torch.testing.assert_close(far, threat.of_model(folded).distance(x, x + 0.1), rtol=1e-4, atol=0)
