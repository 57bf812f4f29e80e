"""Settings of attacks from words."""

import pytest

from hauberk.attacks import PGD
from hauberk.cli.settings import attack_of, setting, values
from hauberk.errors import InputError


def test_settings_are_read_as_yaml_or_fractions():
    assert setting("step_size=8/255") == ("step_size", 8 / 255)
    assert setting("random_start=false") == ("random_start", False)
    assert setting("share=[0.1, 0.2]") == ("share", [0.1, 0.2])
    for text in ("steps", "=3", "a b=3"):
        with pytest.raises(InputError, match="write NAME=VALUE"):
            setting(text)
    with pytest.raises(InputError, match="cannot be read"):
        setting("a=[")


def test_several_values():
    assert values("q=0.8, 0.95,none") == ("q", [0.8, 0.95, None])
    assert values("loss=ce,margin") == ("loss", ["ce", "margin"])
    for text in ("steps", "steps=", "steps=1,,2", "1x=2"):
        with pytest.raises(InputError, match=r"--vary .*write NAME=ONE,TWO"):
            values(text)
    with pytest.raises(InputError, match="stands there twice"):
        values("steps=1,2,1")


def test_attacks_by_name():
    assert attack_of("pgd", ["steps=7", "random_start=no"]) == PGD(steps=7, random_start=False)
    assert attack_of("SparseL1Descent").steps == 100
    for words, message in (
        (("magic",), "--attack: unknown attack 'magic'"),
        (("attack",), "unknown attack"),
        (("pgd", ["step=7"]), "did you mean"),
        (("pgd", ["when=masked"]), "settings of the attack alone"),
        (("pgd", ["steps=0"]), "steps is 0"),
    ):
        with pytest.raises(InputError, match=message):
            attack_of(*words)
    with pytest.raises(InputError, match="--free: unknown attack"):
        attack_of("magic", option="--free")
