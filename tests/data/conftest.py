"""What the tests of data share: a folder of their own, and the error of a refused request."""

import sys

import pytest

from hauberk.data import load_data
from hauberk.errors import InputError


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused():
    """`load_data`, which must refuse its arguments; returns the message, one line."""

    def refuse(*args, **kwargs):
        with pytest.raises(InputError) as caught:
            load_data(*args, **kwargs)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return refuse
