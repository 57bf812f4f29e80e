"""Arrays by name: files of several kinds, numbers in text, tensors told apart by their contents."""

import numpy as np
import pytest
import torch
from tests.helpers.oracles import refusal

from hauberk.spec.arrays import Array, given


def test_files_of_several_kinds_hold_the_same_numbers(tmp_path):
    values = np.array([0.1, 0.25, 0.5])
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", values)
    np.savetxt(tmp_path / "a.csv", values[None], delimiter=",")
    torch.save(torch.from_numpy(values), tmp_path / "a.pt")
    for file in ("a.npy", "a.npz", "a.csv", "a.pt"):
        assert Array.of(str(tmp_path / file)).value.tolist() == values.tolist(), file
    assert Array.of("0.1;1/4;0.5").value.tolist() == values.tolist()
    assert Array.of([0.1, 0.25, 0.5]).value.tolist() == values.tolist()  # not through float32
    assert Array.of("-inf;1e-3").value.tolist() == [-np.inf, 0.001]


def test_the_digest_tells_contents_apart_and_nothing_else(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[True, False]]))
    first = Array.of(str(tmp_path / "a.npy"))
    assert first.digest == Array.of(torch.tensor([[True, False]])).digest
    assert first.digest != Array.of(torch.tensor([[False, True]])).digest
    assert first.digest != Array.of(torch.tensor([[[True, False]]])).digest
    assert first.digest != Array.of(torch.tensor([[1, 0]])).digest
    made = Array.of(torch.tensor([[True, False]]))
    assert made.name == f"tensor-{first.digest[:12]}"


def test_a_few_numbers_are_their_own_name():
    for few in ([0.1, 8 / 255], torch.tensor([True, False]), np.array([3, 1]), torch.rand(5)):
        array = Array.of(few)
        again = Array.of(array.name)
        assert again.digest == array.digest
        assert again.value.tolist() == np.asarray(few).astype(np.float64).tolist()
    assert Array.of(torch.zeros(17)).name.startswith("tensor-")


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path):
    assert "there is no file none.npy" in refusal(Array.of, "none.npy")
    assert "give the tensor itself" in refusal(Array.of, "tensor-0123456789ab")
    (tmp_path / "bad.npy").write_bytes(b"no array")
    assert "cannot be read as one array" in refusal(Array.of, str(tmp_path / "bad.npy"))
    np.savez(tmp_path / "two.npz", a=np.ones(2), b=np.ones(2))
    assert "2 arrays (a, b)" in refusal(Array.of, str(tmp_path / "two.npz"))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "cannot be read" in refusal(Array.of, str(tmp_path / "objects.npy"))
    assert "NaN" in refusal(Array.of, [float("nan")])
    assert "holds no numbers" in refusal(Array.of, object())
    assert "no list of numbers" in refusal(Array.of, "0.1;;")


def test_names_stand_for_what_is_given(tmp_path):
    held = Array("mask.npy", torch.ones(2))
    with given({"mask.npy": held}):
        assert Array.of("mask.npy") is held
        with given({"other.npy": held}):
            assert Array.of("mask.npy") is Array.of("other.npy") is held
    with pytest.raises(ValueError, match="there is no file"):
        Array.of("mask.npy")
