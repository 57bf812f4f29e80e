import pytest
import torch
from torch import nn

from hauberk import models
from hauberk.errors import InputError

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)

# One row a model: factory, input shape, parameters, the names that its keys start with.
TABLE = [
    (models.LeNet5, MNIST, 648_226, "conv1 conv2 linear1 linear2"),
    (models.SmallCNN, MNIST, 312_202, "conv1 conv2 conv3 conv4 fc1 fc2 fc3"),
    (models.MadryCNN, MNIST, 3_274_634, "conv1 conv2 fc1 fc2"),
    (models.kwsmall_mnist, MNIST, 166_406, "0 2 5 7"),
    (models.madry_tiny, MNIST, 52_506, "0 2 5 7"),
    (models.kwsmall_cifar10, CIFAR, 214_918, "0 2 5 7"),
    (models.cnn_a_cifar10, CIFAR, 214_918, "0 2 5 7"),
    (models.ResNet4B, CIFAR, 123_734, "conv1 layer1 layer2 linear1 linear2"),
    (models.ResNet20A, CIFAR, 269_722, "conv1 bn1 layer1 layer2 layer3 linear"),
    (models.MLP, (1, 8, 8), 2_410, "layers"),
]
IDS = [row[0].__name__ for row in TABLE]


@pytest.mark.parametrize(("factory", "shape", "parameters", "names"), TABLE, ids=IDS)
def test_shape_parameters_and_keys(factory, shape, parameters, names):
    model = factory().eval()
    assert model(torch.rand(2, *shape)).shape == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert list(dict.fromkeys(key.split(".")[0] for key in model.state_dict())) == names.split()


@pytest.mark.parametrize(("factory", "shape", "parameters", "names"), TABLE, ids=IDS)
def test_moves_to_another_dtype_whole(factory, shape, parameters, names):
    x = torch.rand(2, *shape, dtype=torch.float64)
    assert factory().eval().double()(x).dtype == torch.float64


@pytest.mark.parametrize(("factory", "shape", "parameters", "names"), TABLE, ids=IDS)
def test_examples_do_not_influence_each_other(factory, shape, parameters, names):
    model = factory().eval().double()
    x = torch.rand(3, *shape, dtype=torch.float64)
    alone = torch.cat([model(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model(x), alone)


def test_resnet_keys():
    keys = models.ResNet4B().state_dict().keys()
    assert "layer1.0.shortcut.0.weight" in keys
    assert "layer2.0.shortcut.0.bias" in keys
    assert not any(key.startswith("layer1.1.shortcut") for key in keys)
    keys = models.ResNet20A().state_dict().keys()
    assert {"bn1.running_mean", "layer3.2.bn2.running_var"} <= keys
    assert not any("shortcut" in key for key in keys)


@pytest.mark.parametrize("factory", [models.kwsmall_cifar10, models.cnn_a_cifar10, models.ResNet4B])
def test_normalisation_is_inside_and_not_in_the_state_dict(factory):
    model = factory()
    x = torch.rand(2, 3, 32, 32)
    mean, std = model.mean.flatten(), model.std.flatten()
    expected = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(model.normalise(x), expected)
    assert not {"mean", "std"} & model.state_dict().keys()


def test_kwsmall_without_normalisation_is_a_plain_sequential():
    model = models.kwsmall_mnist()
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(model(x), nn.Sequential(*model.children())(x))


def test_smallcnn_drops_out_in_training_only():
    model, x = models.SmallCNN(), torch.rand(2, 1, 28, 28)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_mlp_sizes():
    assert models.MLP((6, 3))(torch.rand(4, 2, 3)).shape == (4, 3)
    with pytest.raises(InputError, match="at least two"):
        models.MLP((6,))


def test_kwsmall_defaults_to_mnist():
    shapes = [p.shape for p in models.KWSmall().parameters()]
    assert shapes == [p.shape for p in models.kwsmall_mnist().parameters()]


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
