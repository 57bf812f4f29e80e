"""Packages that may be absent, or need one that is: the real ones, and stand-ins for them."""

import sys
import types
from importlib import import_module
from importlib.machinery import ModuleSpec

import pytest
from torch import nn

TORCHVISION = (
    "torchvision", "torchvision.ops", "torchvision.ops.misc", "torchvision.transforms",
    "torchvision.transforms.functional", "torchvision.models", "torchvision.datasets",
    "torchvision.models.feature_extraction",
)  # fmt: skip
MODES = ("NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")


class Blank(types.ModuleType):
    """A module that has every name, each an empty class."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {mode: mode.lower() for mode in MODES})
        setattr(self, name, made)
        return made


def blank(name):
    """A module of that name that has every name."""
    made = Blank(name)
    made.__path__, made.__spec__ = [], ModuleSpec(name, None)
    return made


def real_timm():
    """timm itself, or a skip.

    It is imported with blanks for torchvision where that cannot be imported: the networks do
    without.
    """
    if "timm" in sys.modules:
        return sys.modules["timm"]
    try:
        import_module("torchvision")
    except Exception:  # noqa: BLE001  # absent, or made for another torch
        gone = {name: sys.modules.get(name) for name in TORCHVISION}
        sys.modules.update({name: blank(name) for name in TORCHVISION})
        for name in TORCHVISION[1:]:
            parent, _, last = name.rpartition(".")
            setattr(sys.modules[parent], last, sys.modules[name])
    else:
        gone = {}
    try:
        return pytest.importorskip("timm", reason="timm is not installed")
    finally:
        for name, before in gone.items():
            del sys.modules[name]
            if before is not None:
                sys.modules[name] = before


class Net(nn.Module):
    """A small image classifier with the names that packages use."""

    def __init__(self, num_classes=10, in_chans=3, **settings):
        super().__init__()
        self.settings = settings
        self.conv1 = nn.Conv2d(in_chans, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.conv1(x).relu().mean((2, 3)))


def module(name, **attributes):
    """A module of that name with these attributes."""
    made = types.ModuleType(name)
    made.__dict__.update(attributes)
    return made
