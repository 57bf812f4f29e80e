"""Our APGD finds as much as that of AutoAttack, in as many steps."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hauberk.attacks import APGD
from hauberk.data import load_data
from hauberk.threats import L1, L2, Linf

N, STEPS = 200, 50
CASES = [
    (Linf(0.05), "Linf"),
    (Linf(0.1), "Linf"),
    (L2(0.4), "L2"),
    (L2(0.6), "L2"),
    (L1(1.0), "L1"),
    (L1(1.5), "L1"),
]
pytestmark = pytest.mark.filterwarnings("ignore:.*zero gradient")


@pytest.fixture(scope="module", params=["mlp", "cnn"])
def case(request):
    """A network trained for seconds on noisy digits, and the points it gets right."""
    torch.manual_seed(0)
    data = load_data("digits:train")
    x, y = data.images, data.labels
    if request.param == "mlp":
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(144, 10),
        )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    rng = torch.Generator().manual_seed(0)
    for _ in range(300):
        pick = torch.randint(len(x), (128,), generator=rng)
        noisy = (x[pick] + 0.15 * torch.randn(x[pick].shape, generator=rng)).clamp(0, 1)
        optimiser.zero_grad()
        F.cross_entropy(model(noisy), y[pick]).backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        right = (model(x).argmax(1) == y).nonzero().squeeze(1)[:N]
    assert len(right) == N
    return model, x[right], y[right]


def accuracy(model, points, y):
    with torch.no_grad():
        return float((model(points).argmax(1) == y).double().mean())


def accuracy_of(outcome):
    return float((~outcome.fooled).double().mean())


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize(("threat", "name"), CASES, ids=[str(t) for t, _ in CASES])
def test_apgd_against_autoattack(case, threat, name, loss):
    other = pytest.importorskip("pyautoattack.autopgd_base")
    model, x, y = case
    # The larger balls first belong to their l1 attack as they do to ours.
    theirs = other.APGDAttack(
        model, n_iter=STEPS, norm=name, eps=threat.eps, loss=loss, device="cpu", seed=0,
        use_largereps=name == "L1",
    )  # fmt: skip
    state = torch.get_rng_state()
    points = theirs.perturb(x.clone(), y.clone())
    torch.set_rng_state(state)
    ours = APGD(steps=STEPS, loss=loss)(model, x, y, threat)
    assert threat.contains(x, ours.points).all()
    mine, its = accuracy(model, ours.points, y), accuracy(model, points, y)
    assert 0.02 < its < 0.98, "the case tells nothing: choose another eps"
    assert mine <= its + 0.02
    assert mine == accuracy_of(ours)


@pytest.mark.parametrize(("threat", "name"), CASES, ids=[str(t) for t, _ in CASES])
def test_targeted_apgd_against_autoattack(case, threat, name):
    other = pytest.importorskip("pyautoattack.autopgd_base")
    model, x, y = (case[0], case[1][:100], case[2][:100])
    theirs = other.APGDAttack_targeted(
        model, n_iter=20, norm=name, eps=threat.eps, device="cpu", seed=0, n_target_classes=3,
        use_largereps=name == "L1",
    )  # fmt: skip
    state = torch.get_rng_state()
    points = theirs.perturb(x.clone(), y.clone())
    torch.set_rng_state(state)
    ours = APGD(steps=20, loss="dlr", targets=3)(model, x, y, threat)
    assert accuracy(model, ours.points, y) <= accuracy(model, points, y) + 0.02
