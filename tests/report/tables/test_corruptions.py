"""Tables of corruptions, cell by cell."""

import pytest

from hauberk.report.tables.corruptions import table


def model(accuracies, clean, mce=None):
    kinds = {
        kind: {
            "mean": sum(row) / 2, "interval": [0.1, 0.2], "ce": None,
            "severities": dict(zip("15", row, strict=True)),
        }
        for kind, row in accuracies.items()
    }  # fmt: skip
    means = [kind["mean"] for kind in kinds.values()]
    return {
        "clean_accuracy": clean, "clean_interval": [0.9, 1.0], "mean": sum(means) / 2,
        "interval": [0.401, 0.702], "mce": mce, "kinds": kinds,
    }  # fmt: skip


@pytest.fixture
def summary():
    return {
        "n": 100, "seed": 4, "hauberk_version": "9.9", "images": "made", "baseline": None,
        "kinds": ["fog", "frost"], "severities": [1, 5], "cost": {"seconds": 1},
        "models": {"a": model({"fog": [0.9, 0.5], "frost": [0.8, 0.1]}, 0.97, 0.805)},
    }  # fmt: skip


def cells(text):
    return [line.split() for line in text.splitlines() if line and "─" not in line]


def test_one_model(summary):
    found = cells(str(table(summary)))
    assert found[:4] == [
        ["severity", "1", "5", "mean"],
        ["fog", "90.0%", "50.0%", "70.0%"],
        ["frost", "80.0%", "10.0%", "45.0%"],
        ["mean", "85.0%", "30.0%", "57.5%"],
    ]
    text = str(table(summary))
    assert "100 examples" in text
    assert "seed 4, hauberk 9.9" in text.replace("\n", " ")
    assert "clean 97.0%; mean 57.5%, 95% interval 40.1–70.2" in text
    assert "not the published photographs" in text
    assert "mCE" not in text


def test_several_models(summary):
    summary["models"]["b"] = model({"fog": [0.2, 0.2], "frost": [0.4, 0.4]}, 0.5, 1.0)
    summary["baseline"] = "b"
    assert cells(str(table(summary)))[:7] == [
        ["mean", "over", "severities", "a", "b"],
        ["clean", "97.0%", "50.0%"],
        ["fog", "70.0%", "20.0%"],
        ["frost", "45.0%", "40.0%"],
        ["mean", "57.5%", "30.0%"],
        ["95%", "interval", "40.1–70.2", "40.1–70.2"],
        ["mCE", "80.5", "100.0"],
    ]
    summary["models"]["a"]["mce"] = None
    assert ["mCE", "–", "100.0"] in cells(str(table(summary)))


def test_many_models_fit_in_80_columns(summary):
    summary["models"] = {f"a long name {k}": summary["models"]["a"] for k in range(9)}
    text = str(table(summary))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("mean over") == 3


def test_files_are_told_from_what_is_made(summary):
    summary["images"] = "files"
    text = str(table(summary))
    assert "corruptions: the files of CIFAR-10-C" in text
    assert "photographs" not in text
