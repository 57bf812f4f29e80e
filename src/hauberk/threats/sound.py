"""Whether a user's callable is a distance, tried on an input or two before it is relied on."""

from typing import Any

import torch

from hauberk.errors import InputError
from hauberk.maths.rng import Draws

NOISE = 0.03
"""Half the width of random starts and of the probe, in units of the box's."""


def check_distance(region: Any) -> None:
    """Refuse a callable that is no distance; note the dtypes that it takes.

    Args:
        region: of a measured threat, around one input or two.

    Raises:
        InputError: for one that fails, is negative, is not 0 at the clean input, changes between
            identical calls, or depends on the other inputs of a batch.
    """
    threat, x0 = region.threat, region.x0
    draws = Draws.of(0, torch.arange(len(x0), device=x0.device))
    noise = draws.uniform(0, x0.shape[1:], x0.dtype).sub_(0.5).mul_(2 * NOISE * region.span)
    x = torch.clamp(x0 + noise, *region.edges)
    problem: Exception | None = None
    for dtype in (torch.float64, torch.float32):
        try:
            # The callable itself: `between` would convert.
            with torch.no_grad():
                threat.probe(x0.to(dtype), x.to(dtype))
            threat.dtypes.append(dtype)
        except (RuntimeError, TypeError) as error:  # what a module of another dtype raises
            problem = error
    if not threat.dtypes:
        raise InputError(f"the distance of {threat} failed on inputs: {problem}") from problem
    at_clean, first, again = (region.around(x0).measure_off(z) for z in (x0, x, x))
    if not torch.allclose(first, again, rtol=1e-4, atol=0):
        raise InputError(
            f"the distance of {threat} changes between identical calls: put the network in eval "
            "mode, and draw no random numbers"
        )
    if (first < 0).any() or (at_clean < 0).any():
        raise InputError(f"the distance of {threat} is negative: give one of 0 or more")
    if (at_clean > 1e-3 * first + 1e-6).any():
        raise InputError(
            f"the distance of {threat} is {float(at_clean.max()):g} from an input to itself: it "
            "must be 0 there"
        )
    alone = region.take(torch.arange(1, device=x0.device)).measure_off(x[:1])
    if not torch.allclose(alone, first[:1], rtol=1e-2, atol=1e-6):
        raise InputError(
            f"the distance of {threat} depends on the other inputs of a batch: put the network in "
            "eval mode"
        )
