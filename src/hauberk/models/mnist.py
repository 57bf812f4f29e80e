"""Convolutional networks for 28x28 grey images: input (B, 1, 28, 28) in [0, 1], logits (B, 10)."""

import torch.nn.functional as F
from torch import Tensor, nn


class LeNet5(nn.Module):
    """Advertorch's LeNet5: conv 32 3x3, pool, conv 64 3x3, pool, FC 200, FC 10.

    648,226 parameters. Fits advertorch's `mnist_lenet5_*.pt`. Networks of the same name differ:
    that of MMA training (Ding 2020) is :class:`LeNet5Wide`.

    Example:
        >>> import torch
        >>> from hauberk.models import LeNet5
        >>> LeNet5()(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.linear1 = nn.Linear(64 * 7 * 7, 200)
        self.linear2 = nn.Linear(200, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.linear1(x.flatten(1)))
        logits: Tensor = self.linear2(x)
        return logits


class SmallCNN(nn.Module):
    """The MNIST network of TRADES (Zhang 2019): four 3x3 convolutions, FC 200, FC 200, FC 10.

    312,202 parameters; dropout 0.5 after the first FC layer, in training only. Fits the values of
    the checkpoint of yaodongyu/TRADES once its keys are named conv1..conv4, fc1..fc3.

    Example:
        >>> import torch
        >>> from hauberk.models import SmallCNN
        >>> SmallCNN()(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 32, 3)
        self.conv3 = nn.Conv2d(32, 64, 3)
        self.conv4 = nn.Conv2d(64, 64, 3)
        self.fc1 = nn.Linear(64 * 4 * 4, 200)
        self.fc2 = nn.Linear(200, 200)
        self.fc3 = nn.Linear(200, 10)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = F.max_pool2d(x, 2)
        x = self.dropout(F.relu(self.fc1(x.flatten(1))))
        logits: Tensor = self.fc3(F.relu(self.fc2(x)))
        return logits


class MadryCNN(nn.Module):
    """The MNIST network of Madry 2018, as in Maini 2020: conv 32 5x5, conv 64 5x5, FC 1024, FC 10.

    3,274,634 parameters; padding 2 and a 2x2 max-pool at both convolutions.

    Example:
        >>> import torch
        >>> from hauberk.models import MadryCNN
        >>> MadryCNN()(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(64 * 7 * 7, 1024)
        self.fc2 = nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc2(x)
        return logits


class LeNet5Wide(MadryCNN):
    """The "LeNet5" of MMA training (Ding 2020, appendix C): conv 32, conv 64, FC 1024, FC 10.

    3,274,634 parameters. The paper gives no kernel size; with 5x5, as in the LeNet-5 of 1998, it
    is the network of :class:`MadryCNN`.

    Example:
        >>> import torch
        >>> from hauberk.models import LeNet5Wide
        >>> LeNet5Wide()(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
