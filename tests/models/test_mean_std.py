"""Mean and std: as numbers, by name, and from the files of timm and transformers."""

import json

import numpy as np
import pytest
import torch

from hauberk.errors import InputError
from hauberk.models.mean_std import KNOWN, MeanStd

IMAGENET = MeanStd((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), True)
TRIPLE = ((0.1, 0.2, 0.3), (1.0, 2.0, 0.5))


@pytest.mark.parametrize(
    ("mean", "std", "wanted"),
    [
        ("0.1,0.2,0.3", "1,2,1/2", TRIPLE),
        ("[0.1, 0.2, 0.3]", (1, 2, 0.5), TRIPLE),
        (np.array([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 0.5]).view(-1, 1, 1), TRIPLE),
        (0.5, "0.25", ((0.5,), (0.25,))),
        (torch.tensor(0.5), np.float32(0.25), ((0.5,), (0.25,))),
        ("imagenet", None, (IMAGENET.mean, IMAGENET.std)),
        ("Tiny-ImageNet", None, (KNOWN["tinyimagenet"].mean, KNOWN["tinyimagenet"].std)),
        ("cifar10", "0.2,0.2,0.2", ((0.4914, 0.4822, 0.4465), (0.2, 0.2, 0.2))),
        ("mnist", "mnist", ((0.1307,), (0.3081,))),
    ],
)
def test_numbers_and_names(mean, std, wanted):
    found = MeanStd.of(mean, std)
    assert found.mean == pytest.approx(wanted[0])
    assert found.std == pytest.approx(wanted[1])


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ("0.5", None, "mean without std: give both"),
        ("imagnet", None, "mean is 'imagnet': give numbers"),
        ("0.5,x", "1", "mean is '0.5,x': give numbers"),
        ("0.5", "0", "every std above 0"),
        ("0.5", "-1", "every std above 0"),
        ("inf", "1", "finite numbers"),
        ((0.1, 0.2), (1, 2, 3), "mean has 2 values and std 3"),
        ([], 1, "give a number, or one for each channel"),
        (object(), 1, "give a number, or one for each channel"),
        ("gone.json", None, "gone.json does not exist"),
        (".", None, "holds none of preprocessor_config.json"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch, mean, std, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=says) as error:
        MeanStd.of(mean, std)
    assert "\n" not in str(error.value)


HF = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def through(says, levels):
    """What an image processor of transformers makes of bytes, step by step."""
    x = levels.astype(np.float64)
    if says.get("do_rescale", True):
        x = x * says.get("rescale_factor", 1 / 255)
        x = x - 1 if says.get("rescale_offset") else x
    if says.get("do_normalize", True):
        x = (x - np.array(says["image_mean"])) / np.array(says["image_std"])
    return x


@pytest.mark.parametrize(
    "says",
    [
        HF,
        HF | {"do_rescale": True, "rescale_factor": 0.00392156862745098, "do_normalize": True},
        HF | {"do_normalize": False},
        HF | {"do_rescale": False},
        HF | {"rescale_factor": 1 / 127.5, "rescale_offset": True},
        HF | {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False},
        {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_resize": True},
    ],
)
def test_an_image_processor_is_followed_step_by_step(tmp_path, says):
    """Of every switch that changes what the network sees."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(says))
    for given in (tmp_path, tmp_path / "preprocessor_config.json"):
        found = MeanStd.of(given)
        levels = np.arange(256)[:, None].repeat(3, 1)
        mine = (levels / 255 - np.array(found.mean)) / np.array(found.std)
        np.testing.assert_allclose(mine, through(says, levels), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("config.json", {"architecture": "x", "pretrained_cfg": {"mean": [0.5], "std": [0.2]}}),
        ("config.json", {"mean": [0.5], "std": [0.2]}),
        ("processor_config.json", {"image_processor": {"image_mean": 0.5, "image_std": [0.2]}}),
    ],
)
def test_files_of_timm_and_of_processors_with_several_parts(tmp_path, name, says):
    (tmp_path / name).write_text(json.dumps(says))
    found = MeanStd.of(str(tmp_path))
    assert (found.mean, found.std, found.of_images) == ((0.5,), (0.2,), True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no readable JSON"),
        ('{"hidden_size": 3}', "config.json says no mean and std of images"),
        ("[1]", "config.json says no mean and std of images"),
        ('{"mean": "x", "std": 1}', "mean is 'x': give a number"),
        ('{"image_mean": [0.5]}', "image_std is None"),
    ],
)
def test_files_that_say_nothing_are_refused(tmp_path, text, says):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=says):
        MeanStd.of(tmp_path)


def test_names_are_of_images_in_the_unit_box_and_numbers_of_the_inputs():
    levels = np.arange(256)
    for lo, hi in ((0, 255), (-1, 1), ([0, -1, 2], [1, 1, 3])):
        found = IMAGENET.in_box(lo, hi)
        for c in range(3):
            low, high = (float(np.broadcast_to(v, 3)[c]) for v in (lo, hi))
            x = low + levels / 255 * (high - low)
            want = (levels / 255 - IMAGENET.mean[c]) / IMAGENET.std[c]
            np.testing.assert_allclose((x - found.mean[c]) / found.std[c], want, atol=1e-9)
    given = MeanStd.of(128, 64)
    assert given.in_box(0, 255) is given
    assert IMAGENET.in_box(0, 1) is IMAGENET


@pytest.mark.parametrize(
    ("by", "box", "says"),
    [
        (MeanStd.of("123.675,116.28,103.53", "58,57,57"), (0, 1), "divide both by 255, 0.485,"),
        (MeanStd.of("0.485,0.456,0.406", "0.2"), (0, 255), "look like those of images in .0, 1."),
        (IMAGENET, (-np.inf, np.inf), "the box has no end"),
    ],
)
def test_units_that_cannot_be_meant_are_refused(by, box, says):
    with pytest.raises(InputError, match=says):
        by.in_box(*box)
