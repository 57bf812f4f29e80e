"""Tar files of pictures and classes."""

import io
import json
import tarfile

import pytest
import torch

from hauberk.data import load_data

pillow = pytest.importorskip("PIL.Image", reason="needs Pillow")


def picture(value):
    file = io.BytesIO()
    pillow.new("L", (4, 4), value).save(file, "png")
    return file.getvalue()


def write(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def pairs(values, kind="cls", offset=0):
    for k, value in enumerate(values):
        label = {"cls": b"%d" % (value % 3), "json": json.dumps({"label": value % 3}).encode()}
        yield f"{k + offset:04d}.png", picture(value)
        yield f"{k + offset:04d}.{kind}", label[kind]
        yield f"{k + offset:04d}.caption.txt", b"a word"


@pytest.mark.parametrize("kind", ["cls", "json"])
@pytest.mark.parametrize("source", ["tar", "wds"])
def test_pictures_and_classes(kind, source):
    write("x.tar", pairs(range(7), kind))
    data = load_data(f"{source}:x.tar", limit=4, offset=2)
    assert (data.images[:, 0, 0, 0] * 255).round().tolist() == [2, 3, 4, 5]
    assert data.labels.tolist() == [2, 0, 1, 2]
    assert data.ids.tolist() == [2, 3, 4, 5]
    assert load_data("x.tar", resize=2).images.shape == (7, 1, 2, 2)


def test_shards(refused, tmp_path):
    (tmp_path / "d").mkdir()
    for k in range(2):
        write(f"d/x-{k:03d}.tar", pairs(range(3 * k, 3 * k + 3)))
    for spec in ("tar:d/x-{000..001}.tar", "tar:d/x-*.tar"):
        assert (load_data(spec).images[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(load_data("tar:x-{000..001}.tar", "d").labels, torch.arange(6) % 3)
    assert "d/x-002.tar does not exist" in refused("tar:d/x-{000..002}.tar")


def test_folders_in_a_tar_are_classes():
    names = ("cat/1.png", "dog/1.png", "cat/2.png")
    write("x.tar", [(f"./data/{name}", picture(k)) for k, name in enumerate(names)])
    data = load_data("tar:x.tar")
    assert (data.labels.tolist(), data.class_names) == ([0, 1, 0], ("cat", "dog"))
    assert load_data("tar:x.tar", classes="dog,cat").labels.tolist() == [1, 0, 1]
    write(
        "n.tar",
        [("1.png", picture(1)), ("1.cls", b"dog"), ("2.png", picture(1)), ("2.cls", b"ant")],
    )
    assert load_data("tar:n.tar").class_names == ("ant", "dog")


def test_numbers_of_names_do_not_depend_on_the_limit():
    for k, name in enumerate(("cat", "ant")):
        write(f"x-{k}.tar", [("1.png", picture(k)), ("1.cls", name.encode())])
    data = load_data("tar:x-{0..1}.tar", limit=1)
    assert (data.labels.tolist(), data.class_names) == ([1], ("ant", "cat"))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([("1.png", b"no"), ("1.cls", b"0")], "1.png is no readable image"),
        ([("1.png", picture(1)), ("1.cls", b"")], "1.cls is empty"),
        ([("1.png", picture(1)), ("1.txt", b"0")], "has no class: there are png, txt"),
        ([("1.png", picture(1)), ("1.json", b"{")], "no JSON"),
        ([("1.png", picture(1)), ("1.json", b'{"w": 1}')], "1.json holds w"),
        ([("1.png", picture(1)), ("1.jpg", picture(1)), ("1.cls", b"0")], "several pictures"),
        ([("1.cls", b"0")], "no pictures with a class"),
    ],
)
def test_what_is_wrong_is_named(refused, files, says):
    write("x.tar", files)
    assert says in refused("tar:x.tar")


def test_files_that_are_no_tar(refused, tmp_path):
    write("x.tar.gz", pairs(range(2)), "w:gz")
    assert "is compressed: unpack it" in refused("tar:x.tar.gz")
    (tmp_path / "x.tar").write_bytes(b"no tar at all" * 100)
    assert "no readable tar" in refused("tar:x.tar")
