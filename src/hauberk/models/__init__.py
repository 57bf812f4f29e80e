"""The networks of the papers and of public checkpoints, and `load_model` for your own.

Every model takes inputs in [0, 1]: it normalises them itself, with buffers that are not part of its
state dict, so public weights load with `strict=True`.
"""

from hauberk.models.cifar import ModelE, ModelF, ModelG, ModelH, madry_wrn
from hauberk.models.fixed import FixedBatch
from hauberk.models.kwsmall import (
    KWSmall,
    cnn_a_cifar10,
    kwsmall_cifar10,
    kwsmall_mnist,
    kwwide_mnist,
    madry_tiny,
)
from hauberk.models.loading import load_model, load_weights
from hauberk.models.mlp import MLP
from hauberk.models.mnist import LeNet5, LeNet5Wide, MadryCNN, SmallCNN
from hauberk.models.normalised import normalised
from hauberk.models.preact import PreActResNet18
from hauberk.models.resnet import ResNet4B, ResNet20A
from hauberk.models.routed import PaddingDetector, Routed
from hauberk.models.wang2021 import (
    ModelA,
    ModelB,
    ModelC,
    ModelD,
    model_a_cifar10,
    model_b_cifar10,
    model_c_cifar10,
    model_d_cifar10,
)
from hauberk.models.wide import WideResNet, wrn_28_4, wrn_28_10, wrn_34_10

__all__ = [
    "MLP",
    "FixedBatch",
    "KWSmall",
    "LeNet5",
    "LeNet5Wide",
    "MadryCNN",
    "ModelA",
    "ModelB",
    "ModelC",
    "ModelD",
    "ModelE",
    "ModelF",
    "ModelG",
    "ModelH",
    "PaddingDetector",
    "PreActResNet18",
    "ResNet4B",
    "ResNet20A",
    "Routed",
    "SmallCNN",
    "WideResNet",
    "cnn_a_cifar10",
    "kwsmall_cifar10",
    "kwsmall_mnist",
    "kwwide_mnist",
    "load_model",
    "load_weights",
    "madry_tiny",
    "madry_wrn",
    "model_a_cifar10",
    "model_b_cifar10",
    "model_c_cifar10",
    "model_d_cifar10",
    "normalised",
    "wrn_28_4",
    "wrn_28_10",
    "wrn_34_10",
]
