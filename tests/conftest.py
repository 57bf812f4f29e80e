import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same cases each time: a green run stays green. `make test-all` looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("new")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder of real data and weights; a test that needs it skips where there is none."""
    given = os.environ.get("HAUBERK_DATA_DIR")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "weights").is_dir():
        pytest.skip(f"no real data: {folder} has no weights/ (set HAUBERK_DATA_DIR)")
    return folder
