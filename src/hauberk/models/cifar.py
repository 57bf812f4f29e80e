"""The four large networks of Wang et al. 2021: images (B, 3, 32, 32) in [0, 1] to logits.

The paper names them without layers: E, F and H are the 32x32 versions of kuangliu/pytorch-cifar,
keys included; G is that of MadryLab/cifar10_challenge. None of them normalises its input but
G where asked for.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.normalised import Prepared


class ModelE(nn.Module):
    """Wang et al. 2021, Table A1, E: VGG16 with BatchNorm and a single FC layer.

    Thirteen 3x3 convolutions with bias and five max-pools. Input (B, 3, 32, 32) in [0, 1], logits
    (B, classes); 14,728,266 parameters. Keys as in kuangliu/pytorch-cifar.

    Args:
        classes: number of classes, 2 or more.

    Example:
        >>> import torch
        >>> from hauberk.models import ModelE
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = ModelE().eval()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        _check(classes)
        layers: list[nn.Module] = []
        inner = 3
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                layers += _conv(inner, width, 3)
                inner = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


class ModelF(nn.Module):
    """Wang et al. 2021, Table A1, F: ResNet50 for 32x32 images (He et al. 2016).

    A 3x3 convolution, then 3, 4, 6 and 3 bottlenecks; the 3x3 convolutions have the strides, and
    1x1 convolutions are the shortcuts where the shape changes. Input (B, 3, 32, 32) in [0, 1],
    logits (B, classes); 23,520,842 parameters. Keys as in kuangliu/pytorch-cifar.

    Args:
        classes: number of classes, 2 or more.

    Example:
        >>> import torch
        >>> from hauberk.models import ModelF
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = ModelF().eval()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        _check(classes)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _bottlenecks(64, 64, 3, stride=1)
        self.layer2 = _bottlenecks(256, 128, 4, stride=2)
        self.layer3 = _bottlenecks(512, 256, 6, stride=2)
        self.layer4 = _bottlenecks(1024, 512, 3, stride=2)
        self.linear = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(x)))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


class ModelG(Prepared):
    """Wang et al. 2021, Table A1, G: Madry's Wide-ResNet, that of MadryLab/cifar10_challenge.

    Three stages of five pre-activated units, widths 160, 320 and 640: 31 3x3 convolutions, called
    w28-10 and w32-10 there, and 34-10 by the count of Zagoruyko & Komodakis 2016. Leaky ReLU of
    slope 0.1; shortcuts without parameters (average pooling, zero channels). Unlike there,
    convolutions of stride 2 are padded on both sides, and images are standardised only where
    asked for (:func:`madry_wrn`). Input (B, 3, 32, 32) in [0, 1], logits (B, classes); 45,901,914
    parameters.

    Args:
        classes: number of classes, 2 or more.
        per_image: normalise each image by its own mean and deviation, as there.

    Example:
        >>> import torch
        >>> from hauberk.models import ModelG
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = ModelG().eval()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10, *, per_image: bool = False) -> None:
        super().__init__()
        _check(classes)
        self.set_preparation((), (), per_image)
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        stages = []
        for inner, outer in pairwise((16, 160, 320, 640)):
            first = _WideUnit(inner, outer, stride=1 if inner == 16 else 2, shared=inner == 16)
            stages.append(nn.Sequential(first, *(_WideUnit(outer, outer) for _ in range(4))))
        self.stage1, self.stage2, self.stage3 = stages
        self.bn = nn.BatchNorm2d(640, eps=1e-3)
        self.linear = nn.Linear(640, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage3(self.stage2(self.stage1(self.conv(self.prepare(x)))))
        logits: Tensor = self.linear(_leaky(self.bn(x)).mean(dim=(2, 3)))
        return logits


def madry_wrn() -> ModelG:
    """Madry's Wide-ResNet (:class:`ModelG`) with images standardised one by one, as he trains it.

    That of Tramèr & Boneh 2019 on CIFAR-10; 45.9 M parameters.

    Example:
        >>> import torch
        >>> from hauberk.models import madry_wrn
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = madry_wrn().eval()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """
    return ModelG(per_image=True)


class ModelH(nn.Module):
    """Wang et al. 2021, Table A1, H: GoogLeNet for 32x32 images, with BatchNorm.

    Nine inception modules after a 3x3 convolution; two 3x3 convolutions stand for each 5x5 one. No
    auxiliary classifiers. Input (B, 3, 32, 32) in [0, 1], logits (B, classes); 6,166,250
    parameters. Keys as in kuangliu/pytorch-cifar.

    Args:
        classes: number of classes, 2 or more.

    Example:
        >>> import torch
        >>> from hauberk.models import ModelH
        >>> with torch.device("meta"):  # no memory, shapes only
        ...     logits = ModelH().eval()(torch.rand(2, 3, 32, 32))
        >>> logits.shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        _check(classes)
        self.pre_layers = nn.Sequential(*_conv(3, 192, 3))
        self.a3 = _Inception(192, 64, (96, 128), (16, 32), 32)
        self.b3 = _Inception(256, 128, (128, 192), (32, 96), 64)
        self.a4 = _Inception(480, 192, (96, 208), (16, 48), 64)
        self.b4 = _Inception(512, 160, (112, 224), (24, 64), 64)
        self.c4 = _Inception(512, 128, (128, 256), (24, 64), 64)
        self.d4 = _Inception(512, 112, (144, 288), (32, 64), 64)
        self.e4 = _Inception(528, 256, (160, 320), (32, 128), 128)
        self.a5 = _Inception(832, 256, (160, 320), (32, 128), 128)
        self.b5 = _Inception(832, 384, (192, 384), (48, 128), 128)
        self.linear = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b3(self.a3(self.pre_layers(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.e4(self.d4(self.c4(self.b4(self.a4(x)))))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.b5(self.a5(x))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with BatchNorm; four times `width` channels come out."""

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        outer = 4 * width
        self.conv1 = nn.Conv2d(inner, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outer, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer)
        self.shortcut = nn.Sequential()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class _WideUnit(nn.Module):
    """BatchNorm, leaky ReLU and a 3x3 convolution, twice; `shared`: the shortcut is activated."""

    def __init__(self, inner: int, outer: int, stride: int = 1, shared: bool = False) -> None:
        super().__init__()
        self.stride, self.shared, self.pad = stride, shared, (outer - inner) // 2
        self.bn1 = nn.BatchNorm2d(inner, eps=1e-3)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer, eps=1e-3)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = _leaky(self.bn1(x))
        shortcut = y if self.shared else x
        y = self.conv2(_leaky(self.bn2(self.conv1(y))))
        if self.stride > 1:
            shortcut = F.avg_pool2d(shortcut, self.stride)
        total: Tensor = y + F.pad(shortcut, (0, 0, 0, 0, self.pad, self.pad))
        return total


class _Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, two 3x3 (the 5x5), and 3x3 max-pool with 1x1."""

    def __init__(
        self, inner: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int
    ) -> None:
        super().__init__()
        self.b1 = nn.Sequential(*_conv(inner, one, 1))
        self.b2 = nn.Sequential(*_conv(inner, three[0], 1), *_conv(*three, 3))
        self.b3 = nn.Sequential(
            *_conv(inner, five[0], 1), *_conv(*five, 3), *_conv(five[1], five[1], 3)
        )
        self.b4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *_conv(inner, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.b1(x), self.b2(x), self.b3(x), self.b4(x)), 1)


def _conv(inner: int, outer: int, kernel: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    convolution = nn.Conv2d(inner, outer, kernel, padding=kernel // 2)
    return convolution, nn.BatchNorm2d(outer), nn.ReLU()


def _bottlenecks(inner: int, width: int, depth: int, stride: int) -> nn.Sequential:
    rest = (_Bottleneck(4 * width, width, 1) for _ in range(depth - 1))
    return nn.Sequential(_Bottleneck(inner, width, stride), *rest)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


def _check(classes: int) -> None:
    if classes < 2:
        raise InputError(f"classes is {classes}: give 2 or more")
