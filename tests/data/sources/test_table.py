"""The table of data sources, and what it takes to add one."""

import numpy as np
import pytest

from hauberk.data import load_data
from hauberk.data.source import DataSource, in_memory
from hauberk.data.sources import SOURCES


def stripes(request):
    """The toy source: white images, or black ones for the test."""
    value = 0.0 if request.split == "test" else 1.0
    return in_memory(np.full((3, 1, 4, 4), value), np.arange(3), request.spec, classes=3)


@pytest.fixture
def _with_stripes(monkeypatch):
    toy = DataSource("stripes", "stripes:train|test", "Three plain images.", stripes)
    monkeypatch.setitem(SOURCES, "stripes", toy)


@pytest.mark.usefixtures("_with_stripes")
def test_an_entry_in_the_table_is_all_that_a_source_needs(refused):
    data = load_data("stripes:test", limit=2)
    assert (data.images.max(), data.labels.tolist(), data.classes) == (0, [0, 1], 3)
    assert "write stripes:train or stripes:test" in refused("stripes:x")
    assert "stripes:train|test" in refused("nonsense")


@pytest.mark.parametrize("name", SOURCES)
def test_entries_say_how_they_are_written(name):
    source = SOURCES[name]
    assert source.name == name
    assert source.usage.startswith(f"{name}:")
    assert source.about.endswith(".")
