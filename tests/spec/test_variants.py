"""Variants of a file of options: every combination, each in the files that name it."""

from copy import deepcopy

import pytest

from hauberk import InputError
from hauberk.spec.variants import Variant, concerning, setting, variants, without_one

MSD = {"threat": ["linf:0.3", "l2:2", "l1:10"], "strategy": {"name": "msd", "step_l1": 0.08}}
MAX = {
    "threat": ["linf:0.3", "l2:2", "l1:12"],
    "strategy": {"name": "max", "attacks": {"l2": {"steps": 5}, "l1": {"steps": 9}}},
}


def test_every_combination_once_and_the_last_fastest():
    before = deepcopy(MAX)
    vary = {"strategy.attacks.l2.steps": [5, 7], "seed": [0, 1, 2]}
    made = variants(MAX, vary)
    assert [tuple(v.settings.values()) for v in made] == [
        (5, 0), (5, 1), (5, 2), (7, 0), (7, 1), (7, 2),
    ]  # fmt: skip
    assert [v.options["strategy"]["attacks"]["l2"]["steps"] for v in made] == [5] * 3 + [7] * 3
    assert [v.options["seed"] for v in made] == [0, 1, 2] * 2
    assert all(v.options["strategy"]["attacks"]["l1"] == {"steps": 9} for v in made)
    assert before == MAX
    assert made[4].label == "l2.steps=7 seed=1"
    assert variants(MSD, {}) == [Variant(MSD)]


def test_a_setting_is_varied_where_it_is_named_or_else_everywhere():
    vary = {"strategy.step_l1": [1], "strategy.attacks.l1.steps": [2], "strategy.clean": [0]}
    one, other = concerning(vary, [MSD, MAX])
    assert list(one) == ["strategy.step_l1", "strategy.clean"]
    assert list(other) == ["strategy.attacks.l1.steps", "strategy.clean"]


def test_each_threat_is_left_out_with_its_attack():
    found = without_one(Variant(MAX, {"seed": 1}))
    assert [v.options["threat"] for v in found] == [
        ["linf:0.3", "l2:2", "l1:12"], ["l2:2", "l1:12"], ["linf:0.3", "l1:12"],
        ["linf:0.3", "l2:2"],
    ]  # fmt: skip
    assert [sorted(v.options["strategy"]["attacks"]) for v in found] == [
        ["l1", "l2"], ["l1", "l2"], ["l1"], ["l2"],
    ]  # fmt: skip
    assert [v.settings.get("without") for v in found] == [None, "linf:0.3", "l2:2", "l1:12"]
    assert {v.settings["seed"] for v in found} == {1}
    assert len(without_one(Variant(MSD))) == 4
    alone = Variant({"threat": ["l2:1"], "strategy": {}})
    assert without_one(alone) == [alone]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("epochs=2", ("epochs", [2])),
        ("strategy.step_l1=1/4, 0.5", ("strategy.step_l1", [0.25, 0.5])),
        ("strategy.zero=true,false", ("strategy.zero", [True, False])),
        ("strategy.reduce=mean,sum", ("strategy.reduce", ["mean", "sum"])),
        ("threat=[linf:8/255, l1:5]", ("threat", [["linf:8/255", "l1:5"]])),
    ],
)
def test_settings_from_words(text, found):
    assert setting(text) == found


@pytest.mark.parametrize(
    "text", ["epochs", "=2", "epochs=", "a..b=1", "a b=1", "epochs=1,,2", "epochs=[1"]
)
def test_words_that_are_no_settings(text):
    with pytest.raises(InputError, match="write path=value"):
        setting(text)


def test_a_setting_within_a_number_is_refused():
    with pytest.raises(InputError, match="seed holds no settings"):
        variants({"seed": 3}, {"seed.low": [1]})
