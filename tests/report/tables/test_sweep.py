"""The table of a search: all models of a small one, the best of a large one."""

from hauberk.report.tables.sweep import MOST, table


def model(group, union, **settings):
    return {
        "group": group,
        "settings": settings,
        "accuracy": {"union": union, "l2:1": 0.5},
        "n": 200,
    }


def test_a_small_search_is_listed_whole():
    rows = [model("msd", 0.25), model("max", 0.125, **{"strategy.attacks.l2.steps": 9})]
    shown = str(table(rows, {"msd": [1.0, 0.0], "max": [0.5, 0.0]}, [0.1, 0.2]))
    for words in (("msd", "25.0%", "50.0%"), ("max steps=9", "12.5%"), ("max", "50%", "0%")):
        assert any(all(w in line for w in words) for line in shown.splitlines())
    assert "200 examples" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_of_a_large_one_the_best_of_each_group():
    rows = [model("msd", k / 100, k=k) for k in range(MOST)]
    shown = str(table([*rows, model("max", 0.9, k=7)], {"msd": [1.0], "max": [1.0]}, [0.1]))
    assert "k=29" in shown
    assert "k=28" not in shown
    assert "max k=7" in shown
