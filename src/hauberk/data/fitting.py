"""Arrays of images made as they are wanted: layout, colour and size."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hauberk.data.pictures import middle
from hauberk.data.reading import Reading
from hauberk.errors import InputError

CHANNELS = (1, 3, 4)
_GREY = (0.299, 0.587, 0.114)


def laid_out(images: Tensor, reading: Reading, spec: str) -> Tensor:
    """Images (N, C, H, W); floats, and uint8 (N, D), as they are unless a layout is given.

    Args:
        images: (N, ...); of uint8 (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W).
        reading: its layout; without one the shape is to say it.
        spec: the name of the data set, for error messages.

    Raises:
        InputError: for uint8 images of another shape, or one that reads both ways.

    Example:
        >>> laid_out(torch.zeros(5, 28, 28, 3, dtype=torch.uint8), Reading(), "mine").shape
        torch.Size([5, 3, 28, 28])
    """
    layout, shape = reading.layout, reading.shape
    if shape is not None:
        if images.dim() < 2 or images[0].numel() != math.prod(shape):
            raise InputError(
                f"{spec}: an example has shape {tuple(images.shape[1:])}, which --layout "
                f"{'x'.join(map(str, shape))} does not fit"
            )
        images, layout = images.reshape(len(images), *shape), "nchw"
    if layout == "nhwc" and images.dim() == 4:
        return images.permute(0, 3, 1, 2)
    if images.dtype != torch.uint8 or images.dim() == 2:
        return images
    if images.dim() == 3:
        return images.unsqueeze(1)
    last = images.dim() == 4 and images.shape[-1] in CHANNELS
    first = images.dim() == 4 and images.shape[1] in CHANNELS
    if layout == "nchw" and images.dim() == 4:
        return images
    if first and last:
        raise InputError(
            f"{spec}: images of shape {tuple(images.shape)} can be (N, C, H, W) or (N, H, W, C): "
            "say which, --layout nchw or --layout nhwc"
        )
    if first or last:
        return images if first else images.permute(0, 3, 1, 2)
    raise InputError(
        f"{spec}: uint8 images of shape {tuple(images.shape)}: give (N, H, W), or (N, H, W, C) or "
        "(N, C, H, W) with 1, 3 or 4 channels, or floats of any shape"
    )


def fitted(images: Tensor, reading: Reading, spec: str) -> Tensor:
    """Images (N, C, H, W) in the colour and size that are asked for; uint8 stays uint8.

    Raises:
        InputError: for examples that are no images.

    Example:
        >>> fitted(torch.zeros(2, 1, 8, 8), Reading(rgb=True, resize=4), "mine").shape
        torch.Size([2, 3, 4, 4])
    """
    if not (reading.rgb or reading.grey or reading.size or reading.cut):
        return images
    if images.dim() != 4 or (not images.is_floating_point() and images.dtype != torch.uint8):
        raise InputError(
            f"{spec}: examples of shape {tuple(images.shape[1:])} and type {images.dtype} are no "
            "images (C, H, W): --rgb, --grey, --resize and --crop are for these"
        )
    if reading.rgb or reading.grey:
        images = _coloured(images, reading.rgb, spec)
    if reading.size is not None:
        height, width = reading.size.of(*images.shape[2:])
        if (height, width) != tuple(images.shape[2:]):
            # Bicubic values overshoot; those of an image stay in the range that it had.
            low, high = images.amin((1, 2, 3), True), images.amax((1, 2, 3), True)
            made = interpolate(images, (height, width), mode=reading.size.method, antialias=True)
            images = made.clamp(low, high)
    if reading.cut is not None:
        size = (images.shape[2], images.shape[3])
        left, top, right, bottom = middle(size, reading.cut, f"{spec}: an image")
        images = images[:, :, top:bottom, left:right]
    return images


def _coloured(images: Tensor, rgb: bool, spec: str) -> Tensor:
    channels = images.shape[1]
    if channels not in CHANNELS:
        raise InputError(
            f"{spec}: images of {channels} channels cannot become {'RGB' if rgb else 'grey'}: is "
            f"{tuple(images.shape[1:])} their shape (C, H, W)? say --layout nhwc if it is (H, W, C)"
        )
    colour = images[:, :3]  # a fourth channel is transparency
    if rgb:
        return colour.expand(-1, 3, -1, -1)
    if channels == 1:
        return colour
    weights = torch.tensor(_GREY, dtype=torch.float32)
    grey = torch.einsum("nchw,c->nhw", colour.float(), weights).unsqueeze(1)
    return grey.round().to(torch.uint8) if images.dtype == torch.uint8 else grey.to(images.dtype)
