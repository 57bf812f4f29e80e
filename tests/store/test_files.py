"""Files that are there whole or not at all; values as JSON has them."""

import os

import numpy as np
import pytest
import torch

from hauberk.errors import InputError
from hauberk.store.files import differences, is_temporary, lock, plain, put, share, short


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    put(file, b"old")

    def fail(_):
        raise OSError("full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        put(file, b"new")
    assert file.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [file]
    assert is_temporary(tmp_path / ".a.json.7.tmp")
    assert not is_temporary(file)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({1: (np.float32(0.5), float("nan"))}, {"1": [0.5, None]}),
        (torch.tensor([1.0, float("inf")]), [1.0, "inf"]),
        (np.array([True, False]), [True, False]),
        (object, "<class 'object'>"),
    ],
)
def test_values_become_plain(value, found):
    assert plain(value) == found


def test_an_object_is_named_without_its_place_in_memory():
    assert plain(object()) == "<object object>"


def test_differences_have_dotted_names():
    one, other = {"a": {"b": [1, 2]}, "c": 3}, {"a": {"b": [1, 5]}, "d": 4}
    assert differences(one, other) == [("a.b[1]", 2, 5), ("c", 3, None), ("d", None, 4)]
    assert differences([1], [1, 2]) == [("", [1], [1, 2])]
    assert short("x" * 99) == '"' + "x" * 56 + "..."


@pytest.mark.skipif(not hasattr(os, "fork"), reason="locks belong to processes")
def test_processes_that_share_a_folder_keep_others_out_until_the_last_has_gone(tmp_path):
    def other(work):
        """What becomes of another process that does something with the folder."""
        pid = os.fork()
        if pid == 0:
            try:
                work()
            except InputError:
                os._exit(1)
            os._exit(0)
        return pid

    def done(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    held = lock(tmp_path)
    assert done(other(lambda: lock(tmp_path, 1))) == 1  # not before it is shared
    share(held)
    assert done(other(lambda: lock(tmp_path))) == 1
    ready, stop = os.pipe(), os.pipe()

    def joined():
        lock(tmp_path, 1)
        os.write(ready[1], b"x")
        os.read(stop[0], 1)

    member = other(joined)
    os.close(ready[1])  # it would wait for itself
    assert os.read(ready[0], 1) == b"x"
    assert done(other(lambda: lock(tmp_path, 1))) == 1  # that seat is taken
    assert done(other(lambda: lock(tmp_path, 2))) == 0
    os.close(held)  # the first has gone, the other still writes
    assert done(other(lambda: lock(tmp_path))) == 1
    os.write(stop[1], b"x")
    assert done(member) == 0
    assert done(other(lambda: lock(tmp_path))) == 0
    for end in (ready[0], *stop):
        os.close(end)
