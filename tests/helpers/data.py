"""Small inputs, labels and images, the same in every run."""

import torch

from hauberk.data import load_data
from hauberk.maths.rng import Draws


def inputs(n=6, shape=(20,), *, seed=1, box=(0.0, 1.0), dtype=torch.float32, corners=0):
    """Uniform inputs ``(n, *shape)`` of the box; the first ``corners`` of them at its corners."""
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    x[:corners] = x[:corners].round()
    return x * (box[1] - box[0]) + box[0]


def decided(model, x):
    """The inputs, and the labels that the model decides for."""
    with torch.no_grad():
        return x, model(x).argmax(1)


def blobs(n=50, dtype=torch.float32):
    """Three classes about three centres in the unit cube, ``(n, 3)`` and ``(n,)``."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    centres = torch.tensor([[0.2, 0.2, 0.8], [0.8, 0.2, 0.2], [0.2, 0.8, 0.2]])
    x = (centres[y] + 0.08 * torch.randn(n, 3, generator=generator)).clamp(0, 1)
    return x.to(dtype), y


def digits(n=None, split="train"):
    """Images (n, 1, 8, 8) and labels of the embedded digits, the first ones."""
    data = load_data(f"digits:{split}", limit=n)
    return data.images, data.labels


def draws(n, seed=0):
    """Random numbers for the examples 0 to n - 1."""
    return Draws.of(seed, torch.arange(n))


def scenes(n=6, channels=3, side=32, seed=0):
    """Like photographs, shapes and shades of 8-bit levels: ``(n, channels, side, side)``."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(n, channels, 5, 5, generator=generator)
    x = torch.nn.functional.interpolate(rough, (side, side), mode="bicubic", align_corners=True)
    edges = torch.rand(n, channels, side, side, generator=generator) * 0.06
    for image in x:
        top, left = torch.randint(0, side // 2, (2,), generator=generator).tolist()
        image[:, top : top + side // 3, left : left + side // 2] += torch.rand(
            channels, 1, 1, generator=generator
        )
    return ((0.7 * x + edges).clamp(0, 1) * 255).round() / 255
