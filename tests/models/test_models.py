"""Every architecture in one table: parameters, keys, and what all of them promise."""

import pytest
import torch

from hauberk import models

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
