"""Training strategies from words."""

import pytest

import hauberk as hb
from hauberk.attacks import APGD, PGD
from hauberk.cli.strategy import strategy_of
from hauberk.errors import InputError


def test_fields_are_read_as_their_types():
    balls = ["linf:0.1", "l2:1"]
    one = strategy_of("MAX", balls, ["attacks={attack: APGD, steps: 3, loss: ce}"])
    assert one.attacks == APGD(steps=3, loss="ce")
    each = strategy_of({"name": "avg", "attacks": {"l2": {"attack": "PGD", "steps": 3}}}, balls)
    assert each.attacks == {"l2": PGD(steps=3)}
    assert strategy_of("random_norm", balls, ["per=example"]).per == "example"
    assert strategy_of("msd", balls, ["k=[2, 3]"]).k == (2, 3)
    assert strategy_of("ampgd", balls, ["gamma=inf", "random_start=false"]).gamma == float("inf")
    assert strategy_of("ampgd", balls, ["beta=1/40"]).beta == 1 / 40
    assert strategy_of("ampgd", balls, ["order=alternate"]).order == "alternate"
    assert strategy_of("ampgd", balls, ["rule=gradient"]).rule == "gradient"
    assert strategy_of("ampgd", balls, ["share_moved=0.5"]).share_moved == 0.5
    assert strategy_of("ampgd", balls, ["share_moved=[1e-2, 1/2]"]).share_moved == (0.01, 0.5)
    assert strategy_of("eat", ["linf:0.1|l1:1"], ["steps=3"]).steps == 3
    assert strategy_of({"name": "single", "threat": "l2:1"}).threat == hb.L2(1)
    grow = strategy_of("single", ["l2:1"], ["grow={0.1: 1/3}"]).grow
    assert grow == {"0.1": 1 / 3} == strategy_of({"name": "pgdls", "grow": grow}, ["l2:1"]).grow
    assert strategy_of("mma", ["l2:6"]) == strategy_of("mma", d_max="l2:6")


@pytest.mark.parametrize(
    ("given", "threats", "settings", "message"),
    [
        ("maxx", ["l2:1"], [], "did you mean max"),
        ({"steps": 3}, [], [], "has no name"),
        ("max", [], [], "needs a threat"),
        ("max", ["l2:1"], ["attacks={attack: PGD, portion: 0.5}"], "alone"),
        ("max", ["l2:1"], ["stepz=3"], "did you mean steps"),
    ],
)
def test_what_is_no_strategy(given, threats, settings, message):
    with pytest.raises(InputError, match=message):
        strategy_of(given, threats, settings)
