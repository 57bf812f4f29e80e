"""Images of 8 bits: written in a quarter of the space, and read bit for bit as they were."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hauberk.data.dataset import to_images
from hauberk.store.eight_bit import packed, unpacked
from hauberk.store.ledger import Ledger

LEVELS = torch.arange(256, dtype=torch.uint8)


def bits(x):
    return x.numpy().tobytes()


def same_as_given(found, images):
    assert found[0] is images
    assert found[1] == 0


@pytest.mark.parametrize(
    "images",
    [
        to_images(LEVELS.view(4, 64), "all"),
        torch.from_numpy((np.arange(256) / 255).astype(np.float32)).view(1, 256),
        torch.from_numpy(np.arange(256, dtype=np.float32) / np.float32(255)).view(1, 256),
        torch.tensor([[k / 255 for k in range(256)]]),
    ],
)
def test_every_level_comes_back_to_the_bit_however_it_was_divided(images):
    """All usual ways to divide bytes by 255 round to the same float32."""
    found, unit = packed(images)
    assert (found.dtype, unit) == (torch.uint8, 255)
    assert torch.equal(found.flatten(), LEVELS)
    assert bits(unpacked(found, unit)) == bits(images)


def test_images_of_0_to_255_are_bytes_as_well():
    images = LEVELS.view(4, 64).float()
    found, unit = packed(images)
    assert (found.dtype, unit) == (torch.uint8, 1)
    assert bits(unpacked(found, unit)) == bits(images)
    images[3, 3] += 0.5
    same_as_given(packed(images), images)


@pytest.mark.parametrize("value", [0.3, -0.0, -1 / 255, 256 / 255, float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 3])
def test_one_number_that_is_no_level_leaves_the_images_as_they_are(value, place):
    images = LEVELS.view(4, 64).float() / 255
    images[place, 17] = value
    same_as_given(packed(images), images)


def test_one_step_of_rounding_is_not_lost():
    images = LEVELS.view(4, 64).float() / 255
    images[2, 5] = torch.nextafter(images[2, 5], torch.tensor(1.0))
    assert bits(unpacked(*packed(images))) == bits(images)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        other = (LEVELS.view(4, 64).float() / 255).to(dtype)
        same_as_given(packed(other), other)


def test_a_ledger_holds_bytes_and_gives_images(tmp_path):
    images, file = LEVELS.view(4, 64).float() / 255, tmp_path / "r/parts/clean-0.safetensors"
    ledger = Ledger.create(tmp_path / "r", {"kind": "toy"})
    ledger.write("clean-0", {"id": range(4)}, {"originals": images, "wrong": images[:, 0]})
    held = load_file(file)
    assert {name: value.dtype for name, value in held.items()} == {
        "originals": torch.uint8, "originals_unit": torch.float32, "wrong": torch.float32,
    }  # fmt: skip
    found = ledger.tensors("clean-0")
    assert bits(found["originals"]) == bits(images)
    assert set(found) == {"originals", "wrong"}
    save_file(
        {"originals": images, "wrong": images[:, 0].clone()}, file
    )  # as ledgers were written before
    assert bits(ledger.tensors("clean-0")["originals"]) == bits(images)
