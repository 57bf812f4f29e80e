"""The two small residual networks."""

from hauberk import models


def test_resnet_keys():
    keys = models.ResNet4B().state_dict().keys()
    assert "layer1.0.shortcut.0.weight" in keys
    assert "layer2.0.shortcut.0.bias" in keys
    assert not any(key.startswith("layer1.1.shortcut") for key in keys)
    keys = models.ResNet20A().state_dict().keys()
    assert {"bn1.running_mean", "layer3.2.bn2.running_var"} <= keys
    assert not any("shortcut" in key for key in keys)
