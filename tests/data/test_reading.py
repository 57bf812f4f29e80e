"""How data are to be read: what is refused, and what is recorded."""

from pathlib import Path

import pytest

from hauberk.data.reading import PLAIN, Reading, Size
from hauberk.errors import InputError


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"resize": "big"}, "resize is 'big'"),
        ({"resize": "0"}, "resize is '0'"),
        ({"resize": "1x2x3"}, "resize"),
        ({"resize": "8,nearest"}, "bicubic"),
        ({"crop": "8,bicubic"}, "crop is"),
        ({"layout": "hwc"}, "layout is 'hwc'"),
        ({"layout": "1x0"}, "layout"),
        ({"sample": 0}, "sample=0"),
        ({"balanced": True}, "give sample"),
        ({"rgb": True, "grey": True}, "either rgb or grey"),
    ],
)
def test_what_cannot_be(given, says):
    with pytest.raises(InputError, match=says):
        Reading(**given)


def test_sizes():
    assert Reading(resize=" 8 x 9 , BICUBIC").size == Size(8, 9, "bicubic")
    assert Reading(crop=7).cut == (7, 7)
    assert Size(256).of(500, 375) == (341, 256)
    assert Reading(layout="1x28x28").shape == (1, 28, 28)


def test_only_what_was_asked_is_recorded():
    assert PLAIN.facts() == {}
    assert Reading(sample_seed=3).facts() == {}
    assert Reading(sample=5, crop=3).facts() == {"sample": 5, "sample_seed": 0, "crop": 3}
    assert Reading(classes=Path("a")).facts() == {"classes": "a"}
