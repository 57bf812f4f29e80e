"""Clean accuracy of public checkpoints, to the last digit, on all 10,000 test images."""

from functools import lru_cache
from pathlib import Path

import pytest
import torch

import hauberk as hb
from hauberk.data import load_data
from hauberk.models import load_model

pytestmark = pytest.mark.real

# One row a file: data, weights, model, right answers out of 10,000.
TABLE = [
    ("mnist", "mnist_smallcnn_trades_linf", "SmallCNN", 9948),
    ("mnist", "mnist_smallcnn_standard", "SmallCNN", 9814),
    ("mnist", "mnist_kwsmall_pgd_linf", "kwsmall_mnist", 9899),
    ("mnist", "mnist_kwsmall_certified_linf0.1", "kwsmall_mnist", 9820),
    ("mnist", "mnist_madrytiny_linf", "madry_tiny", 9794),
    ("mnist", "mnist_lenet5_clntrained", "LeNet5", 9889),
    ("cifar10", "cifar10_resnet4b_linf2", "ResNet4B", 7720),
    ("cifar10", "cifar10_kwsmall_standard", "kwsmall_cifar10", 7610),
    ("cifar10", "cifar10_kwsmall_certified_l2_36_stage1", "kwsmall_cifar10", 5439),
    ("cifar10", "cifar10_cnn_a_adv_linf", "cnn_a_cifar10", 6565),
    pytest.param(
        *("cifar10", "cifar10_resnet20_standard", "ResNet20A", 9173), marks=pytest.mark.slow
    ),
]


@lru_cache(maxsize=1)
def test_set(name, folder):
    return load_data(f"{name}:test", folder)


test_set.__test__ = False


@pytest.mark.parametrize(("name", "weights", "factory", "right"), TABLE)
def test_clean_accuracy(real_data_dir, name, weights, factory, right):
    data = test_set(name, real_data_dir)
    model = load_model(f"hauberk.models:{factory}", real_data_dir / "weights" / f"{weights}.npz")
    with torch.no_grad():
        found = sum(
            int((model(x).argmax(1) == y).sum())
            for x, y in zip(data.images.split(200), data.labels.split(200), strict=True)
        )
    assert len(data) == 10_000
    assert found == right


def test_the_shipped_network_resists_the_union(real_data_dir):
    folder = Path(__file__).parents[2] / "recipes" / "train" / "weights" / "mnist-union"
    data = load_data("mnist:test", real_data_dir, offset=1000, limit=100)
    threats = hb.Union(hb.Linf(0.3), hb.L2(2.0), hb.L1(10))
    found = hb.evaluate(load_model(str(folder)), data.images, data.labels, threats, suite="fast")
    assert found.clean_accuracy >= 0.95
    assert found.union_accuracy >= 0.5
