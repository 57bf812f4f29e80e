"""A small trained model, as a user of the console has it."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hauberk.data import load_data

NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture(scope="session")
def trained():
    """A linear model of the embedded digits."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    data = load_data("digits:train")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(data.images), data.labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.requires_grad_(False)


@pytest.fixture
def place(tmp_path, monkeypatch, trained):
    """An empty directory with a model of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    save_file(trained.state_dict(), tmp_path / "net.safetensors")
    return tmp_path
