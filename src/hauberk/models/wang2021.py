"""The four small networks of Wang et al. 2021: images (B, channels, size, size) to logits."""

import torch.nn.functional as F
from torch import Tensor, nn

from hauberk.errors import InputError


class ModelA(nn.Module):
    """Wang et al. 2021, Table A1, A: the image flattened, then FC 128, 128, 64 and `classes`, ReLU.

    Input (B, channels, size, size) in [0, 1], logits (B, classes). 125,898 parameters for
    1x28x28, 418,762 for 3x32x32.

    Args:
        channels: of the images.
        size: height and width in pixels, 1 or more.
        classes: number of classes, 2 or more.

    Raises:
        InputError: if an argument is too small.

    Example:
        >>> import torch
        >>> from hauberk.models import ModelA
        >>> ModelA(channels=3, size=32)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        _check(channels, size, classes, least=1)
        self.fc1 = nn.Linear(channels * size * size, 128)
        self.fc2 = nn.Linear(128, 128)
        self.fc3 = nn.Linear(128, 64)
        self.fc4 = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc3(F.relu(self.fc2(x))))
        logits: Tensor = self.fc4(x)
        return logits


class ModelB(nn.Module):
    """Wang et al. 2021, Table A1, B: All-CNN, nine convolutions and a global average pooling.

    The two 3x3 convolutions of stride 2 have no ReLU and are followed by dropout 0.5; every 3x3
    convolution is padded by 1; the last one is 1x1 of stride 2. The paper leaves out padding and
    the last stride: they follow its public code. Input (B, channels, size, size) in [0, 1], logits
    (B, classes). 700,810 parameters for 1 channel, 701,386 for 3.

    Args:
        channels: of the images.
        size: height and width in pixels, 1 or more.
        classes: number of classes, 2 or more.

    Raises:
        InputError: if an argument is too small.

    Example:
        >>> import torch
        >>> from hauberk.models import ModelB
        >>> ModelB(channels=3, size=32)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        _check(channels, size, classes, least=1)
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, 3, stride=2, padding=1)
        self.conv4 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv5 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv6 = nn.Conv2d(128, 128, 3, stride=2, padding=1)
        self.conv7 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv8 = nn.Conv2d(128, 128, 1)
        self.conv9 = nn.Conv2d(128, classes, 1, stride=2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout(self.conv3(x))
        x = F.relu(self.conv5(F.relu(self.conv4(x))))
        x = self.dropout(self.conv6(x))
        x = F.relu(self.conv8(F.relu(self.conv7(x))))
        logits: Tensor = self.conv9(x).mean(dim=(2, 3))
        return logits


class ModelC(nn.Module):
    """Wang et al. 2021, Table A1, C: LeNet, conv 6 5x5, pool, conv 16 5x5, pool, FC 120, FC 84.

    ReLU after each; the convolutions are not padded (as in the paper's public code). Input
    (B, channels, size, size) in [0, 1], logits (B, classes). 44,426 parameters for 1x28x28, 62,006
    for 3x32x32.

    Args:
        channels: of the images.
        size: height and width in pixels, 16 or more.
        classes: number of classes, 2 or more.

    Raises:
        InputError: if an argument is too small.

    Example:
        >>> import torch
        >>> from hauberk.models import ModelC
        >>> ModelC(channels=3, size=32)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        _check(channels, size, classes, least=16)
        side = ((size - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        logits: Tensor = self.fc3(x)
        return logits


class ModelD(nn.Module):
    """Wang et al. 2021, Table A1, D: LeNetV2, conv 32 3x3, pool, conv 64 3x3, pool, FC 128.

    ReLU after each, dropout 0.25 after FC 128; the convolutions are padded by 1 (as in the paper's
    public code). Input (B, channels, size, size) in [0, 1], logits (B, classes). 421,642 parameters
    for 1x28x28, 545,098 for 3x32x32.

    Args:
        channels: of the images.
        size: height and width in pixels, 4 or more.
        classes: number of classes, 2 or more.

    Raises:
        InputError: if an argument is too small.

    Example:
        >>> import torch
        >>> from hauberk.models import ModelD
        >>> ModelD(channels=3, size=32)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        _check(channels, size, classes, least=4)
        side = size // 2 // 2
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * side * side, 128)
        self.fc2 = nn.Linear(128, classes)
        self.dropout = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.dropout(F.relu(self.fc1(x.flatten(1))))
        logits: Tensor = self.fc2(x)
        return logits


def model_a_cifar10() -> ModelA:
    """Model A for CIFAR-10: ``ModelA(channels=3, size=32)``.

    Example:
        >>> import torch
        >>> from hauberk.models import model_a_cifar10
        >>> model_a_cifar10()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return ModelA(channels=3, size=32)


def model_b_cifar10() -> ModelB:
    """Model B for CIFAR-10: ``ModelB(channels=3, size=32)``.

    Example:
        >>> import torch
        >>> from hauberk.models import model_b_cifar10
        >>> model_b_cifar10()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return ModelB(channels=3, size=32)


def model_c_cifar10() -> ModelC:
    """Model C for CIFAR-10: ``ModelC(channels=3, size=32)``.

    Example:
        >>> import torch
        >>> from hauberk.models import model_c_cifar10
        >>> model_c_cifar10()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return ModelC(channels=3, size=32)


def model_d_cifar10() -> ModelD:
    """Model D for CIFAR-10: ``ModelD(channels=3, size=32)``.

    Example:
        >>> import torch
        >>> from hauberk.models import model_d_cifar10
        >>> model_d_cifar10()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return ModelD(channels=3, size=32)


def _check(channels: int, size: int, classes: int, least: int) -> None:
    for name, value, low in (("channels", channels, 1), ("size", size, least)):
        if value < low:
            raise InputError(f"{name} is {value}: give {low} or more")
    if classes < 2:
        raise InputError(f"classes is {classes}: give 2 or more")
