"""The demonstration, shortened: it trains, evaluates, compares and can be verified."""

import json

import hauberk as hb
from hauberk import demo


def test_demo_runs_and_verifies(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "EPOCHS", 2)
    for _ in range(2):  # the second goes to a folder of its own
        demo.run(tmp_path / "demo")
        monkeypatch.setattr(demo, "EPOCHS", 1)
    shown = capsys.readouterr().out
    for word in ("standard", "MAX-trained", "union", "average"):
        assert word in shown
    assert (tmp_path / "demo-2").exists()
    summary = json.loads((tmp_path / "demo" / "max" / "summary.json").read_text())
    assert set(summary["threats"]) == {str(t) for t in demo.THREATS.parts}
    model = hb.models.loading.load_model(
        "hauberk.demo:digits_net", str(tmp_path / "demo" / "max.safetensors")
    )
    assert hb.verify(tmp_path / "demo" / "max", model).ok
