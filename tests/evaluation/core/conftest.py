"""A finished ledger of every kind of run."""

import shutil

import pytest
from helpers.runs import RUNS, data

from hauberk.store.ledger import Ledger


@pytest.fixture(scope="session", params=RUNS)
def made(request, tmp_path_factory):
    """The folder of a run, and its models."""
    function, models = RUNS[request.param]
    out = tmp_path_factory.mktemp("runs") / "r"
    found = function(models, *data(), out=out, block=5, seed=3)
    assert found.path == out
    return out, models


@pytest.fixture
def run(made, tmp_path):
    """A ledger that may be changed, and its models."""
    folder, models = made
    shutil.copytree(folder, tmp_path / "r")
    return Ledger.open(tmp_path / "r"), models
