"""First-layer filters: which have one weight, and where their thresholds are."""

import math
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from hauberk.analysis.filters import filters
from hauberk.errors import InputError
from hauberk.models import KWSmall, MadryCNN, PreActResNet18, load_model
from hauberk.models.normalised import Normalised

MADRY = [(0.6, 0.3), (1.34, 0.3), (0.86, 0.7)]
"""The three filters of Madry's network, as Tramèr & Boneh 2019 print them."""


def planted():
    """MadryCNN with these three filters at 4, 9 and 2, and one that looks the other way at 20."""
    torch.manual_seed(0)
    model = MadryCNN()
    with torch.no_grad():
        for place, (a, t) in zip((4, 9, 2), MADRY, strict=True):
            model.conv1.weight[place] = 0.0
            model.conv1.weight[place, 0, place % 5, 1] = a
            model.conv1.bias[place] = -a * t
        model.conv1.weight[20] = 0.0
        model.conv1.weight[20, 0, 2, 2] = -0.5
        model.conv1.bias[20] = 0.25
        model.conv1.weight[7] = 0.0  # a dead one
    return model


def test_thresholds_are_found():
    found = filters(planted())
    assert found.layer == "conv1"
    assert found.thresholding.nonzero().squeeze(1).tolist() == [2, 4, 9, 20]
    rows = {row["filter"]: row for row in found.thresholds()}
    for place, (a, t) in zip((4, 9, 2), MADRY, strict=True):
        assert rows[place]["a"] == pytest.approx(a)
        assert rows[place]["t"] == pytest.approx(t)
    assert rows[20]["a"] == pytest.approx(-0.5)
    assert rows[20]["t"] == pytest.approx(0.5)
    strengths = [row["strength"] for row in found.thresholds()]
    assert strengths == sorted(strengths, reverse=True)
    assert float(found.share[7]) == float(found.strength[7]) == 0.0
    assert math.isnan(float(found.threshold[7]))
    shown = found.to_dict()
    assert (shown["count"], shown["filters"], shown["size"]) == (4, 32, [1, 5, 5])


@pytest.mark.parametrize("seed", range(3))
def test_the_layer_answers_as_the_thresholds_say(seed):
    """Of a constant image, through the normalisation of the model itself."""
    torch.manual_seed(seed)
    model = KWSmall(3, 4, 4, 3, 0, 4 * 1 * 1, 5, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[0].weight[1, seed, 1, 2] = -0.7
    found = filters(nn.Sequential(nn.Identity(), model))
    assert found.layer == "1.0"
    assert found.thresholding.tolist() == [False, True, False, False]
    a, t = float(found.gain[1]), float(found.threshold[1])
    for value in (0.0, 0.3, t, 1.0):
        image = torch.full((1, 3, 8, 8), value)
        answer = model[0](model.normalise(image))[0, 1, 1, 1]
        assert float(answer.detach()) == pytest.approx(a * (value - t), abs=1e-5)
    # And every filter, the sum of its weights at every pixel.
    image = torch.rand(1, 3, 3, 3)
    wanted = model[0](model.normalise(image))[0, :, 0, 0].double()
    got = (found.weights * image[0]).flatten(1).sum(1) + found.bias
    assert torch.allclose(got, wanted, atol=1e-5)


class Wrapped(nn.Module):
    """A normalisation of the user's own before a convolution without bias."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("mean", torch.full((1, channels, 1, 1), 0.5))
        self.register_buffer("std", torch.full((1, channels, 1, 1), 0.25))
        self.net = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False), nn.Linear(4, 2))


def test_wrappers_and_layers_without_bias():
    model = Wrapped(2)
    with torch.no_grad():
        model.net[0].weight.copy_(torch.tensor([3.0, 0.0]).view(1, 2, 1, 1))
    found = filters(model)
    assert found.layer == "net.0"
    assert float(found.gain) == pytest.approx(12.0)
    assert float(found.threshold) == pytest.approx(0.5)
    assert float(filters(nn.Conv2d(1, 1, 1, bias=False)).threshold) == 0.0
    assert filters(nn.Conv2d(1, 1, 1)).layer == "the model"
    one = filters(Wrapped(1))
    assert one.weights.shape == (1, 2, 1, 1)
    with pytest.raises(InputError, match="3 channels before a layer of 2"):
        filters(Wrapped(3))


def test_standardised_images_have_units_of_their_own():
    model = PreActResNet18(per_image=True)
    found = filters(model)
    assert found.standardised
    assert torch.equal(found.weights, model.get_submodule(found.layer).weight.double())
    assert not filters(PreActResNet18()).standardised


def test_one_weight_from_a_share_on():
    layer = nn.Conv2d(1, 2, (1, 2))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-9.0, 1.0], [8.0, 2.0]]).view(2, 1, 1, 2))
    assert filters(layer).share.tolist() == pytest.approx([0.9, 0.8])
    assert filters(layer, 0.8).thresholding.tolist() == [True, True]
    assert filters(layer, 0.85).thresholding.tolist() == [True, False]
    assert filters(layer, 0.95).thresholding.tolist() == [False, False]
    assert filters(layer).single == 0.9
    assert filters(layer).gain.tolist() == [-9.0, 8.0]
    assert filters(layer).strength.tolist() == [1.0, 1.0]
    for single in (0.0, 1.5):
        with pytest.raises(InputError, match="give a share in"):
            filters(layer, single)


def test_models_that_begin_otherwise_are_refused():
    for model, message in (
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "the first layer, 1, is a Linear"),
        (nn.Linear(4, 2), "the first layer, the model, is a Linear"),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)), "is a BatchNorm2d"),
        (nn.Flatten(), "no layer with weights"),
    ):
        with pytest.raises(InputError, match=message):
            filters(model)
    assert issubclass(KWSmall, Normalised)


@pytest.mark.parametrize(
    ("name", "file", "count", "thresholds"),
    [
        ("kwsmall_mnist", "mnist_kwsmall_pgd_linf", 9, [0.3, 0.7]),
        ("SmallCNN", "mnist_smallcnn_trades_linf", 9, [0.3, 0.5, 0.7]),
        ("SmallCNN", "mnist_smallcnn_standard", 0, []),
        ("LeNet5", "mnist_lenet5_clntrained", 0, []),
    ],
)
def test_public_networks_threshold_where_linf_training_at_03_puts_it(name, file, count, thresholds):
    folder = os.environ.get("HAUBERK_DATA_DIR")
    weights = Path(folder or "none") / "weights" / f"{file}.npz"
    if not weights.exists():
        pytest.skip("needs public weights in HAUBERK_DATA_DIR")
    found = filters(load_model(f"hauberk.models:{name}", weights))
    assert int(found.thresholding.sum()) == count
    assert sorted({round(row["t"], 1) for row in found.thresholds()}) == thresholds
