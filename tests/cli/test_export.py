"""``hauberk export``: images of a run, from the console."""

import numpy as np
import torch
from tests.helpers.accuracy import net

from hauberk.cli.main import main

NET = "tests.helpers.accuracy:net"


def test_a_run_is_exported_and_refusals_are_one_line(tmp_path, capsys):
    model = net()
    x = torch.randint(0, 256, (12, 3, 2, 2), generator=torch.manual_seed(1))
    labels = model(x.float() / 255).argmax(1)
    np.savez(tmp_path / "data.npz", images=x.numpy().astype(np.uint8), labels=labels.numpy())
    words = ["--model", NET, "--data", f"npz:{tmp_path / 'data.npz'}", "--suite", "fast"]
    run = str(tmp_path / "run")
    assert main(["evaluate", *words, "--threat", "linf:30/255", "--out", run]) == 0
    out = tmp_path / "images"
    capsys.readouterr()
    assert main(["export", run, "--model", NET, "--out", str(out)]) == 0
    assert "survive rounding to 8 bits" in capsys.readouterr().out
    assert list(out.rglob("*.png"))
    assert main(["export", run, "--model", NET, "--out", str(out)]) == 2
    assert "holds something" in capsys.readouterr().err
    assert main(["export", run, "--model", NET]) == 2
    assert "give --out" in capsys.readouterr().err
