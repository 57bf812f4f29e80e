"""Products of numbers as exact as their dtype, whatever torch was set to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Neither TF32, nor bfloat16 inside float32 products, nor autocast inside the block."""
    places: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    name: str = "allow_tf32"
    full: Any = False
    # Newer releases have one switch per kind of kernel; setting the older ones as well is an error.
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        cudnn, onednn = cast(Any, torch.backends.cudnn), cast(Any, torch.backends.mkldnn)
        places = [places[0], cudnn.conv, cudnn.rnn, onednn.matmul, onednn.conv, onednn.rnn]
        name, full = "fp32_precision", "ieee"
    before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, full)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, name, value)
