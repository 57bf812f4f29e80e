"""Sizes from configuration files of timm and transformers."""

import json

import pytest

from hauberk.data.own_size import sizes
from hauberk.data.reading import Reading, Size
from hauberk.errors import InputError

TIMM = {
    "pretrained_cfg": {"input_size": [3, 288, 288], "crop_pct": 0.95, "interpolation": "bicubic"}
}
VIT = {"do_resize": True, "size": {"height": 224, "width": 224}, "resample": 2}
RESNET = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3}


@pytest.mark.parametrize(
    ("says", "found"),
    [
        (TIMM, ("303,bicubic", "288x288")),
        ({"input_size": [1, 28, 28], "crop_pct": 1.0}, ("28,bilinear", "28x28")),
        (VIT, ("224x224,bilinear", None)),
        (RESNET, ("256,bicubic", "224x224")),
        (RESNET | {"do_center_crop": False}, ("256,bicubic", None)),
        ({"size": 224, "crop_size": 224}, ("224,bilinear", "224")),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, ("256,bicubic", "224x224")),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875, "resample": 3}, ("384,bicubic", None)),
        ({"do_resize": False, "size": 3}, None),
        ({"hidden_size": 3}, None),
    ],
)
def test_what_files_say(says, found):
    assert sizes(says) == found


def test_a_folder_stands_for_its_file(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 3}))
    with pytest.raises(InputError, match="says no size"):
        Reading(resize=str(tmp_path))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(RESNET))
    reading = Reading(resize=str(tmp_path))
    assert (reading.size, reading.cut) == (Size(256, None, "bicubic"), (224, 224))
    assert reading.facts() == {"resize": "256,bicubic", "crop": "224x224"}
    assert Reading(resize=tmp_path / "preprocessor_config.json", crop=200).cut == (200, 200)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        Reading(resize=str(tmp_path))
    with pytest.raises(InputError, match="there is none of"):
        Reading(resize="nowhere.json")
    with pytest.raises(InputError, match="interpolation by lanczos"):
        sizes({"input_size": [3, 8, 8], "interpolation": "lanczos"})
