"""A folder of images, one folder a class."""

import sys

import numpy as np
import pytest

from hauberk.data import load_data


def paint(path, value, mode="L", size=(6, 4)):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new(mode, size, value).save(path)


def test_folder_goes_round_the_classes(tmp_path):
    for name, value in (("b/2.png", 4), ("a/1.png", 1), ("a/2.PNG", 2), ("a/3.bmp", 3)):
        paint(tmp_path / "d" / name, value)
    (tmp_path / "d" / "a" / "notes.txt").write_text("no image")
    (tmp_path / "d" / ".hidden").mkdir()
    data = load_data("folder:d")
    assert data.images.shape == (4, 1, 4, 6)
    assert (data.images[:, 0, 0, 0] * 255).round().tolist() == [1, 4, 2, 3]
    assert data.labels.tolist() == [0, 1, 0, 0]
    assert data.classes == 2
    assert load_data("folder:d", limit=2, offset=1).ids.tolist() == [1, 2]


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_folder_in_colour(tmp_path, mode):
    paint(tmp_path / "d/a/1.png", (10, 20, 30) if mode == "RGB" else 0, mode)
    data = load_data("folder:d", tmp_path)
    assert data.images.shape == (1, 3, 4, 6)
    if mode == "RGB":
        assert (data.images[0, :, 0, 0] * 255).round().tolist() == [10, 20, 30]


def test_folder_images_must_be_alike(refused, tmp_path):
    paint(tmp_path / "d/a/1.png", 1)
    paint(tmp_path / "d/b/1.png", 1, size=(6, 5))
    message = refused("folder:d")
    assert "equal in size" in message
    assert "--resize 256 --crop 224" in message
    assert "(5, 6)" in message
    paint(tmp_path / "d/b/1.png", (1, 1, 1), "RGB")
    assert "--rgb or --grey" in refused("folder:d")
    paint(tmp_path / "d/b/1.png", (1, 1, 1, 1), "RGBA")
    assert "mode RGBA" in refused("folder:d")
    assert len(load_data("folder:d", limit=1)) == 1


@pytest.mark.parametrize("keep", [0, 30, 60])
def test_folder_with_a_corrupt_image(refused, tmp_path, keep):
    path = tmp_path / "d" / "a" / "1.png"
    paint(path, 1, size=(60, 60))
    path.write_bytes(path.read_bytes()[:keep])
    message = refused("folder:d")
    assert "no readable image" in message
    assert "1.png" in message


def test_folder_structure(refused, tmp_path):
    assert "does not exist" in refused("folder:d")
    (tmp_path / "d").mkdir()
    assert "no folders" in refused("folder:d")
    (tmp_path / "d" / "a").mkdir()
    assert "holds no images" in refused("folder:d")
    (tmp_path / "f").touch()
    assert "is a file" in refused("folder:f")


def test_folder_without_pillow(refused, tmp_path, monkeypatch):
    (tmp_path / "d" / "a").mkdir(parents=True)
    (tmp_path / "d" / "a" / "1.png").touch()
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert "pip install pillow" in refused("folder:d")


def test_folders_of_numbers_are_classes_by_size(tmp_path):
    for k in range(12):
        paint(tmp_path / "d" / str(k) / "sub" / "1.png", 20 * k)
    data = load_data("folder:d")
    assert (data.images[:, 0, 0, 0] * 255 / 20).round().tolist() == list(range(12))
    assert data.labels.tolist() == list(range(12))
    assert data.class_names == tuple(map(str, range(12)))
    texts = load_data("folder:d", classes="string")
    assert (texts.images[:, 0, 0, 0] * 255 / 20).round().tolist()[:4] == [0, 1, 10, 11]
    assert texts.labels.tolist() == list(range(12))


def test_folders_of_some_numbers_must_say_what_they_mean(refused, tmp_path):
    for name in ("3", "7"):
        paint(tmp_path / "d" / name / "1.png", 1)
    assert "--classes number" in refused("folder:d")
    assert load_data("folder:d", classes="number").labels.tolist() == [3, 7]
    assert load_data("folder:d", classes="order").labels.tolist() == [0, 1]


def test_ten_folders_of_a_thousand_classes(refused, tmp_path):
    for name in ("n00000007", "n00000003"):
        paint(tmp_path / "d" / name / "1.png", 1)
    lines = [f"n{k:08d} word{k}, other{k}" for k in range(1000)]
    (tmp_path / "synsets.txt").write_text("\n".join(lines))
    data = load_data("folder:d", classes="synsets.txt")
    assert (data.labels.tolist(), data.classes) == ([3, 7], 1000)
    assert data.class_names[7] == "word7"
    paint(tmp_path / "d" / "dog" / "1.png", 1)
    assert "the class 'dog' is not in synsets.txt" in refused("folder:d", classes="synsets.txt")


def test_splits_are_no_classes(refused, tmp_path):
    for name in ("train/a", "val/a"):
        paint(tmp_path / "d" / name / "1.png", 1)
    assert "splits and no classes" in refused("folder:d")


def test_images_of_any_size_by_resizing(tmp_path):
    paint(tmp_path / "d/a/1.png", 10, size=(12, 8))
    paint(tmp_path / "d/b/1.png", (20, 20, 20), "RGB", size=(8, 16))
    data = load_data("folder:d", resize=6, crop="4x5", rgb=True)
    assert data.images.shape == (2, 3, 4, 5)
    assert (data.images[:, 2, 0, 0] * 255).round().tolist() == [10, 20]
    # The window that is read is already cropped: nothing is resized twice.
    assert load_data("folder:d", resize="4x6", grey=True).images.shape == (2, 1, 4, 6)


def test_nothing_is_resized_twice(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    (tmp_path / "d/a").mkdir(parents=True)
    ramp = image.linear_gradient("L").resize((40, 30))
    ramp.save(tmp_path / "d/a/1.png")
    data = load_data("folder:d", resize=20, crop=10)
    wanted = ramp.resize((26, 20), image.Resampling.BILINEAR).crop((8, 5, 18, 15))
    assert (data.images[0, 0] * 255).round().int().tolist() == np.array(wanted).tolist()
