"""Noise of growing size, up to the edge of the threat."""

from math import inf

import pytest
import torch
from helpers.models import Recorder
from helpers.walks import plane

from hauberk.attacks.noise import Noise
from hauberk.maths.norms import norm
from hauberk.threats import L0, L1, L2, Linf


@pytest.mark.parametrize("noise", ["gaussian", "uniform", "salt_and_pepper"])
@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5), L1(1.5), L0(3)], ids=str)
def test_noise_reaches_the_threat_and_never_leaves_it(noise, threat):
    recorder = Recorder(plane(share=2.0))
    x, y = torch.full((4, 20), 0.5), torch.zeros(4, dtype=torch.int64)
    attack = Noise(steps=5, sizes=6, noise=noise)
    attack(recorder, x, y, threat)
    asked = torch.cat(recorder.asked[::2]).view(5, 4, 6, 20)
    far = norm((asked - 0.5).double().flatten(0, 2), threat.p).view(5, 4, 6)
    assert (far <= threat.eps * (1 + 1e-6)).all()
    # Larger and larger; salt and pepper fits as many whole features as there is room for.
    assert (far.diff(dim=2) >= -1e-6).all()
    least = threat.eps - 0.5 if threat.p == 1 and noise == "salt_and_pepper" else threat.eps * 0.99
    if threat.p == inf and noise == "uniform":
        least = threat.eps * 0.9
    if threat.p != 2 or noise != "salt_and_pepper":
        assert (far[:, :, -1] >= least).all()
