"""Two small residual networks for CIFAR-10: input (B, 3, 32, 32) in [0, 1], logits (B, 10)."""

import torch.nn.functional as F
from torch import Tensor, nn

from hauberk.models.normalised import Normalised


class ResNet4B(Normalised):
    """Four residual blocks without BatchNorm, FC 100, FC 10; 123,734 parameters.

    Fits alpha-beta-CROWN's `cifar10_resnet/resnet4b.pth`.

    Example:
        >>> import torch
        >>> from hauberk.models import ResNet4B
        >>> ResNet4B()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_normalisation((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.layer1 = nn.Sequential(_PlainBlock(16, 32, 2), _PlainBlock(32, 32, 1))
        self.layer2 = nn.Sequential(_PlainBlock(32, 32, 2), _PlainBlock(32, 32, 1))
        self.linear1 = nn.Linear(32 * 4 * 4, 100)
        self.linear2 = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(self.normalise(x)))
        x = self.layer2(self.layer1(x)).flatten(1)
        logits: Tensor = self.linear2(F.relu(self.linear1(x)))
        return logits


class ResNet20A(Normalised):
    """ResNet-20 of He 2016 with shortcuts of type A (no parameters); 269,722 parameters.

    Fits akamaster/pytorch_resnet_cifar10's `resnet20-12fca82f.th`.

    Example:
        >>> import torch
        >>> from hauberk.models import ResNet20A
        >>> ResNet20A()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, 1)
        self.layer2 = _stage(16, 32, 2)
        self.layer3 = _stage(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(self.normalise(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


class _PlainBlock(nn.Module):
    """Two 3x3 convolutions with bias; a 1x1 convolution as shortcut where the shape changes."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        self.shortcut = nn.Sequential()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        return F.relu(y + self.shortcut(x))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm; the shortcut subsamples and pads with zero channels."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.pad = (outer - inner) // 2
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(shortcut, (0, 0, 0, 0, self.pad, self.pad)))


def _stage(inner: int, outer: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        _BasicBlock(inner, outer, stride),
        _BasicBlock(outer, outer, 1),
        _BasicBlock(outer, outer, 1),
    )
