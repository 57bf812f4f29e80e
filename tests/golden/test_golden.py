"""The numbers of small runs are those that are kept: refactoring must not change any.

After a change that is meant to change numbers: ``python tests/golden/snapshot.py renew``, and say
in the commit which ones and why.
"""

import pytest
from collect import SMALL, run_case
from compare import differences, load
from snapshot import EXPECTED, facts, registered

registered()
KEPT, MADE_WITH = load(EXPECTED)

CHANCE = {("model/stochastic", "parts/attack-00000-000/margin")}
"""Numbers that the last bit of a point decides: a stochastic model draws anew for every point."""


@pytest.mark.parametrize("name", SMALL)
def test_numbers_are_those_that_are_kept(name):
    assert name in KEPT, f"no numbers are kept for {name}: run snapshot.py renew"
    found, kept = run_case(SMALL[name]), dict(KEPT[name])
    for key in [key for case, key in CHANCE if case == name]:
        assert found.pop(key).shape == kept.pop(key).shape
    told = differences(kept, found, tolerance=1e-9)
    more = f"\n... and {len(told) - 20} more" if len(told) > 20 else ""
    other = "" if facts() == MADE_WITH else f"\nkept with {MADE_WITH}, this is {facts()}"
    assert not told, f"{name} differs:\n" + "\n".join(told[:20]) + more + other


def test_no_case_is_an_error():
    assert [name for name, arrays in KEPT.items() if "error" in arrays] == []


def test_every_kept_case_is_still_run():
    assert list(KEPT) == list(SMALL)
