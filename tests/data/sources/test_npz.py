"""NumPy archives."""

import zipfile

import numpy as np

from hauberk.data import load_data

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_npz_is_looked_for_here_and_in_data_dir(refused, tmp_path):
    (tmp_path / "d").mkdir()
    np.savez(tmp_path / "d" / "x.npz", images=pixels(2, 4), labels=np.array([0, 1]))
    assert len(load_data("npz:d/x.npz")) == 2
    assert len(load_data("npz:x.npz", "d")) == 2
    assert len(load_data(f"npz:{tmp_path / 'd' / 'x.npz'}")) == 2
    assert "does not exist" in refused("npz:x.npz")
    assert "neither here nor in d" in refused("npz:y.npz", "d")
    assert "names nothing" in refused("npz:")
    assert "is a folder" in refused("npz:d")


GOOD = {"images": pixels(3, 5, 5), "labels": np.array([0, 1, 2])}


def test_npz_files(refused, tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, images=np.array([{}], dtype=object), labels=np.array([0]))
    assert "plain arrays" in refused("npz:x.npz")
    np.savez_compressed(path, **GOOD)
    path.write_bytes(path.read_bytes()[:-40])
    assert "no readable .npz" in refused("npz:x.npz")
    with path.open("wb") as file:
        np.save(file, GOOD["images"])
    assert "no readable .npz" in refused("npz:x.npz")
    path.write_bytes(b"")
    assert "no readable .npz" in refused("npz:x.npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", b"text")
        archive.writestr("labels", b"text")
    assert "no array" in refused("npz:x.npz")


def test_arrays_by_their_usual_names(refused):
    keras = {
        f"{x}_{s}": v for s in ("train", "test") for x, v in (("x", pixels(3, 4)), ("y", [0, 1, 2]))
    }
    np.savez("keras.npz", **keras)
    assert np.array_equal(load_data("npz:keras.npz:test").images * 255, keras["x_test"])
    assert np.array_equal(load_data("npz:keras.npz:x_train:y_test").images * 255, keras["x_train"])
    assert "npz:keras.npz:train or npz:keras.npz:test" in refused("npz:keras.npz")
    assert "no 'z' among" in refused("npz:keras.npz:z:y_test")
    np.savez("plain.npz", pixels(3, 4), np.array([[1], [0], [2]]))
    assert load_data("npz:plain.npz").labels.tolist() == [1, 0, 2]
    np.savez("own.npz", scores=np.ones((3, 4)), answer=np.array([1, 0, 2]))
    assert load_data("own.npz").labels.tolist() == [1, 0, 2]
    np.savez("names.npz", X=np.ones((3, 4)), y=np.array(["dog", "cat", "dog"]))
    assert load_data("npz:names.npz").class_names == ("cat", "dog")
