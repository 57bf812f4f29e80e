"""Requests for data: split, path and folder, and arrays in memory."""

import numpy as np
import pytest

from hauberk.data.source import Request, in_memory
from hauberk.errors import InputError


def test_a_request_is_a_name_and_an_argument():
    request = Request("folder:a:b")
    assert (request.name, request.argument) == ("folder", "a:b")
    assert Request("mnist:train").split == "train"


def test_a_path_is_here_or_in_the_folder(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "x.npz").touch()
    assert Request("npz:x.npz", "inside").path.samefile(tmp_path / "inside" / "x.npz")
    assert Request("npz:inside/x.npz").path.samefile(tmp_path / "inside" / "x.npz")
    assert Request("npz:x.npz", str(tmp_path / "inside")).folder.samefile(tmp_path / "inside")


@pytest.mark.parametrize(
    ("request_for", "part", "says"),
    [
        (Request("mnist:valid"), "split", "write mnist:train or mnist:test"),
        (Request("mnist:test"), "folder", "needs data_dir"),
        (Request("mnist:test", "nowhere"), "folder", "is not a folder"),
        (Request("npz:"), "path", "names nothing"),
        (Request("npz:no.npz"), "path", "does not exist"),
    ],
)
def test_what_is_missing_is_named(request_for, part, says):
    with pytest.raises(InputError, match=says):
        getattr(request_for, part)


def test_arrays_in_memory_are_read_by_window():
    raw = in_memory(np.arange(10).reshape(5, 2), np.arange(5), "mine", classes=5)
    images, labels = raw.read(1, 3)
    assert (raw.size, images.tolist(), labels.tolist()) == (5, [[2, 3], [4, 5]], [1, 2])
    with pytest.raises(InputError, match="5 images but 4 labels"):
        in_memory(np.zeros((5, 2)), np.arange(4), "mine")
