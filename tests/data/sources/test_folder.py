"""A folder of images, one folder a class."""

import sys

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
    assert "(5, 6)" in message
    paint(tmp_path / "d/b/1.png", (1, 1, 1), "RGB")
    assert "all grey or all RGB" in refused("folder:d")
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
