"""The small network of Kolter and Wong (convex_adversarial, 2018) and its public variants."""

from collections.abc import Sequence

from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.models.normalised import Normalised


class KWSmall(Normalised, nn.Sequential):
    """conv, ReLU, conv, ReLU, flatten, linear, ReLU, linear: keys "0", "2", "5" and "7".

    Input (B, c, H, W) in [0, 1], logits (B, classes). The default sizes are those of
    `kwsmall_mnist`.

    Args:
        c: channels of the input.
        a: channels after the first convolution.
        b: channels after the second one.
        k: kernel size of both; their stride is 2.
        p: padding of both.
        h: number of features after the flatten.
        f: number of hidden features.
        classes: number of classes.
        mean: one value a channel, with `std`, to normalise the input by; none if empty.
        std: one value a channel, above 0.

    Raises:
        InputError: if `mean` or `std` does not fit the `c` channels.

    Example:
        >>> import torch
        >>> from hauberk.models import KWSmall
        >>> KWSmall()(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        c: int = 1,
        a: int = 16,
        b: int = 32,
        k: int = 4,
        p: int = 1,
        h: int = 1568,
        f: int = 100,
        classes: int = 10,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
    ) -> None:
        super().__init__(
            nn.Conv2d(c, a, k, stride=2, padding=p),
            nn.ReLU(),
            nn.Conv2d(a, b, k, stride=2, padding=p),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(h, f),
            nn.ReLU(),
            nn.Linear(f, classes),
        )
        mean, std = mean or [0.0] * c, std or [1.0] * c
        if len(mean) != c:
            raise InputError(f"mean={tuple(mean)} for {c} channels: give one value a channel")
        self.set_normalisation(mean, std)

    def forward(self, input: Tensor) -> Tensor:
        x = self.normalise(input)
        for layer in self:
            x = layer(x)
        return x


def kwsmall_mnist() -> KWSmall:
    """For (B, 1, 28, 28): 16 and 32 channels, kernel 4, FC 100; 166,406 parameters.

    Fits convex_adversarial's `models/mnist.pth` and `models/fashion_mnist.pth`, and
    fast_adversarial's `MNIST/models/*.pth`.

    Example:
        >>> import torch
        >>> from hauberk.models import kwsmall_mnist
        >>> kwsmall_mnist()(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return KWSmall(1, 16, 32, 4, 1, 1568, 100)


def kwwide_mnist() -> KWSmall:
    """`kwsmall_mnist` at twice the width: 32 and 64 channels, FC 128; 436,202 parameters.

    A pass costs twice as much; for training against several threats at once.

    Example:
        >>> import torch
        >>> from hauberk.models import kwwide_mnist
        >>> kwwide_mnist()(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return KWSmall(1, 32, 64, 4, 1, 3136, 128)


def madry_tiny() -> KWSmall:
    """For (B, 1, 28, 28): 4 and 8 channels, kernel 5, FC 128; 52,506 parameters.

    Fits alpha-beta-CROWN's `MadryCNN_no_maxpool_tiny.pt`.

    Example:
        >>> import torch
        >>> from hauberk.models import madry_tiny
        >>> madry_tiny()(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return KWSmall(1, 4, 8, 5, 2, 392, 128)


def kwsmall_cifar10(
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.225, 0.225, 0.225),
) -> KWSmall:
    """For (B, 3, 32, 32): 16 and 32 channels, kernel 4, FC 100; 214,918 parameters.

    The default normalisation is convex_adversarial's; with it fit oval-bab's `cifar_sgd_8px.pth`
    and each network of convex_adversarial's `cifar_small_*px.pth` cascades.

    Args:
        mean: one value a channel.
        std: one value a channel.

    Example:
        >>> import torch
        >>> from hauberk.models import kwsmall_cifar10
        >>> kwsmall_cifar10()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return KWSmall(3, 16, 32, 4, 1, 2048, 100, mean=mean, std=std)


def cnn_a_cifar10() -> KWSmall:
    """CNN-A of the SDP-FO paper (Dathathri 2020): `kwsmall_cifar10` with another normalisation.

    Fits alpha-beta-CROWN's `cifar_cnn_a_adv.model`, with the preprocessing of that repository;
    whether the network was trained with it is not certain.

    Example:
        >>> import torch
        >>> from hauberk.models import cnn_a_cifar10
        >>> cnn_a_cifar10()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    mean = (125.3 / 255, 123.0 / 255, 113.9 / 255)
    std = (63.0 / 255, 62.1 / 255, 66.7 / 255)
    return kwsmall_cifar10(mean, std)
