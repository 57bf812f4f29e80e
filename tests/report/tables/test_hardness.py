"""Tables of hardness, cell by cell."""

from hauberk.report.tables.hardness import table

HARDNESS = {
    "weights": {"linf:0.1": [[0.7, 0.3]]},
    "cw_l2": [[1.25, None]],
    "eps_linf": [[0.1, 0.2]],
    "groups": ["3 a"],
    "index": [[17, 40]],
    "correct": [[True, False]],
    "spread": {"linf:0.1": {"images": 1.724, "one": 0.25, "even": 0.5, "fooled": 0.875}},
    "correlations": [
        {
            "first": "linf:0.1", "second": "cw_l2", "rho": -0.512, "error": 0.031, "top": 3,
            "groups": 8, "tied": 1,
        }
    ],
    "settings": {"gamma": 4, "beta": "inf", "l2_solver": "fmn", "weights": "mean"},
}  # fmt: skip


def cells(text):
    return [line.split() for line in text.splitlines() if line and "─" not in line]


def test_all_three_tables():
    text = table(HARDNESS)
    found = cells(text)
    assert found[:3] == [
        ["group", "image", "linf:0.1", "C&W", "l2", "eps", "linf"],
        ["3", "a", "17", "0.700*", "1.250", "0.100"],
        ["40!", "0.300", "–*", "0.200*"],
    ]
    assert ["linf:0.1", "1.72", "25%", "50%", "88%"] in found
    assert ["linf:0.1", "C&W", "l2", "-0.512", "0.031", "3/8", "1"] in found
    assert "1 groups of 2, gamma 4, beta inf, averaged over the steps; l2 distances by fmn" in text
    settings = {**HARDNESS["settings"], "weights": "last", "l2_solver": {"attack": "CW"}}
    text = table({**HARDNESS, "settings": settings})
    assert "averaged" not in text
    assert "distances by" not in text
