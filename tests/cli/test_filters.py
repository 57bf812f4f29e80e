"""``hauberk filters`` as a user meets it: words, files, exit codes."""

import json

import pytest
import torch
from safetensors.torch import save_file

from hauberk.cli.main import main
from hauberk.models import MadryCNN


@pytest.fixture
def networks(place):
    """Two networks of Madry et al., one with a filter that compares with 0.3."""
    torch.manual_seed(0)
    model = MadryCNN()
    save_file(model.state_dict(), place / "plain.safetensors")
    with torch.no_grad():
        model.conv1.weight[3] = 0.0
        model.conv1.weight[3, 0, 2, 2] = 0.6
        model.conv1.bias[3] = -0.18
    save_file(model.state_dict(), place / "robust.safetensors")
    words = []
    for name in ("plain", "robust"):
        words += ["--model", "hauberk.models:MadryCNN", "--weights", f"{name}.safetensors"]
    return words


def test_filters_are_counted_and_drawn(networks, place, capsys):
    assert main(["filters", *networks, "--out", "runs/f.svg"]) == 0
    shown = capsys.readouterr().out
    for word in ("plain", "robust: 0.6 (x - 0.3)", "conv1", "runs/f.svg", "runs/f.json"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 80
    found = json.loads((place / "runs/f.json").read_text())["models"]
    assert found["plain"]["count"] == 0
    assert found["robust"]["count"] == 1
    (row,) = found["robust"]["thresholds"]
    assert (row["filter"], row["a"], row["t"]) == (3, 0.6, pytest.approx(0.3))


def test_another_share(networks, capsys):
    assert main(["filters", *networks, "--single", "0.05", "--name", "a", "--name", "b"]) == 0
    assert "has 5% of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no model"),
        (["--model", "hauberk.demo:digits_net"], "is a Linear"),
        (["--model", "hauberk.models:MadryCNN", "--single", "2"], "--single is 2"),
        (["--model", "hauberk.models:MadryCNN", "--out", "a.gif"], "FILE.png"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(place, capsys, words, message):
    assert main(["filters", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
