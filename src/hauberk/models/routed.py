"""Two models behind a detector, which says for each input which of them answers."""

import torch
from torch import Tensor, nn

from hauberk.errors import InputError


class Routed(nn.Module):
    """A detector and two models: where it fires, one of them answers, elsewhere the other.

    One model for each threat, behind a detector that tells their points apart, keeps the accuracy
    of each model under its own threat, and so the best average over threats; not the best under
    their union, where an adversary may fool the detector as well. Inputs (B, ...), logits
    (B, classes). Both models see every input. Attacks follow the gradient of the model that
    answers; with a ``width`` also that of the detector.

    On the command line it is a file of its own, ``--model routed.yaml``, with paths relative to
    it::

        detector: hauberk.models:PaddingDetector
        detected: runs/rt            # a training, or package.module:name
        other: runs/linf
        width: 1.0

    Args:
        detector: a module that gives a score ``(B,)`` for inputs (B, ...); above 0 it fires.
        detected: the model where it fires.
        other: the model elsewhere; with the same classes.
        width: how far around 0 the score has a slope: in the backward pass the choice is
            ``sigmoid(score / width)``, as if logits were mixed by it. 0 for no slope.

    Raises:
        InputError: for a negative width, and if scores or logits do not fit together.

    Source: Tramèr & Boneh 2019, section 4.

    Example:
        >>> import torch
        >>> from hauberk.models import MLP, PaddingDetector, Routed
        >>> model = Routed(PaddingDetector(), MLP((64, 10)), MLP((64, 10)))
        >>> model(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, detector: nn.Module, detected: nn.Module, other: nn.Module, width: float = 0.0
    ) -> None:
        super().__init__()
        if not width >= 0:
            raise InputError(f"width is {width}: give 0 or more")
        self.detector, self.detected, self.other = detector, detected, other
        self.width = float(width)

    def forward(self, x: Tensor) -> Tensor:
        score, one, two = self.detector(x), self.detected(x), self.other(x)
        if score.shape != x.shape[:1] or one.shape != two.shape:
            raise InputError(
                f"the detector's scores are {tuple(score.shape)}, the logits {tuple(one.shape)} "
                f"and {tuple(two.shape)}: give scores (B,) and models with the same classes"
            )
        fires = (score > 0).unsqueeze(1)
        logits = torch.where(fires, one, two)
        if not self.width or not torch.is_grad_enabled():
            return logits
        share = torch.sigmoid(score / self.width).unsqueeze(1)
        # A logit that is no number has no slope, and must not spoil those of the other model.
        first, second = (z.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) for z in (one, two))
        soft = share * first + (1 - share) * second
        # The value of the choice, the slope of the mixture.
        sloped: Tensor = logits.detach() + (soft - soft.detach())
        return sloped


class PaddingDetector(nn.Module):
    """Fires on images with black padding, as rotations and shifts leave it at their edges.

    The score ``(B,)`` is how many pixels on the edge of the image are black in all channels, less
    ``pixels`` and a half. A pixel counts 1 if it is 0 and less the brighter it is, nothing from
    ``level`` on. On CIFAR-10 it fires on 99 of 100 images turned by up to 30 degrees and shifted
    by up to 3 pixels, and on 1 of 100 others; on MNIST, whose edges are black, on all.

    Args:
        pixels: the most black pixels on the edge of an image that is not padded.
        level: what is no longer black, above 0; noise on top of the padding needs more.

    Raises:
        InputError: for a level of 0 or less, or fewer than 0 pixels.

    Source: Tramèr & Boneh 2019, section 4 ("black in-painted pixels").

    Example:
        >>> import torch
        >>> from hauberk.models import PaddingDetector
        >>> images = torch.full((2, 3, 4, 4), 0.5)
        >>> images[1, :, 0] = 0.0  # its first row
        >>> PaddingDetector(pixels=3)(images)
        tensor([-3.5000,  0.5000])
    """

    def __init__(self, pixels: int = 8, level: float = 1 / 255) -> None:
        super().__init__()
        if not level > 0 or pixels < 0:
            raise InputError(
                f"pixels is {pixels} and level is {level}: give pixels of 0 or more and a level "
                "above 0"
            )
        self.pixels, self.level = pixels, float(level)

    def forward(self, x: Tensor) -> Tensor:
        brightest = x.amax(1)  # of the channels, (B, H, W)
        sides = brightest[:, 1:-1, [0, -1]].flatten(1)
        edge = torch.cat([brightest[:, 0], brightest[:, -1], sides], 1)
        black = (1 - edge / self.level).clamp(0, 1)
        return black.sum(1) - self.pixels - 0.5
