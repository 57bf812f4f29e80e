"""Names of classes and the numbers that a model gives them."""

import json

import pytest

from hauberk.data import load_data
from hauberk.data.classes import class_map, numbered, ordered
from hauberk.errors import InputError

INDEX = {"0": ["n00000001", "great_white shark"], "1": ["n00000002", "crane"], "2": ["x", "crane"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.txt", "cat\ndog\n\nbird fish\n"),
        ("c.txt", "\ufeffcat\r\ndog\r\nbird_fish\r\n"),
        ("c.txt", "2 bird fish\n0 cat\n1 dog\n"),
        ("c.txt", "2: bird-fish\n0: cat\n1: dog"),
        ("c.csv", "cat,0\ndog,1\nbird fish,2"),
        ("c.json", '["cat", "dog", "bird fish"]'),
        ("c.json", '{"0": "cat", "2": "Bird Fish", "1": "dog"}'),
        ("c.json", '{"cat": 0, "bird fish": 2, "dog": 1}'),
        ("config.json", '{"id2label": {"0": "cat", "1": "dog", "2": "bird fish"}, "x": 1}'),
        ("c.yaml", "names: [cat, dog, bird fish]"),
        ("c.yml", "0: cat\n1: dog\n2: bird fish"),
        ("c.txt", "n00000001 cat, tom\nn00000002 dog\nn00000003 bird fish"),
    ],
)
def test_files_of_classes(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    found = class_map(tmp_path / name)
    assert [n.lower().replace("_", " ").replace("-", " ") for n in found.names] == [
        "cat", "dog", "bird fish",
    ]  # fmt: skip
    assert found.numbers_of(["bird fish", "CAT", "bird_fish", "dog"], "mine") == [2, 0, 2, 1]


def test_every_name_of_a_class_finds_it(tmp_path):
    (tmp_path / "index.json").write_text(json.dumps(INDEX))
    found = class_map(str(tmp_path / "index.json"))
    assert found.names == ("great_white shark", "crane", "x")
    assert found.numbers_of(["n00000002", "Great White Shark"], "mine") == [1, 0]
    with pytest.raises(InputError, match="'crane' names two classes"):
        found.numbers_of(["crane"], "mine")
    with pytest.raises(InputError, match=r"'cranes' is not in .*did you mean crane"):
        found.numbers_of(["cranes"], "mine")
    assert class_map(["tench, Tinca tinca"]).numbers_of(["Tinca tinca"], "mine") == [0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("no.txt", "there is no such file"),
        ({"1": "a", "2": "b"}, "numbered from 1 to 2: number them from 0"),
        ({"a": "b"}, "no classes in it"),
        ([], "no classes in it"),
        ([{"a": 1}], "no classes in it"),
        ("n02119789 1 kit_fox\nn02100735 2 setter", "number in the middle"),
        ("0 cat\n0 dog", "same number"),
        ("{", "cannot be read"),
    ],
)
def test_what_says_no_classes(tmp_path, monkeypatch, given, says):
    monkeypatch.chdir(tmp_path)
    if isinstance(given, str) and given != "no.txt":
        (tmp_path / "c").write_text(given)
        given = "c"
    with pytest.raises(InputError, match=says):
        class_map(given)


def test_numbers_that_are_no_names_are_classes():
    found = class_map("cat,dog,bee")
    assert found.numbers_of(["2", "0"], "mine") == [2, 0]
    assert class_map("2,1,0").numbers_of(["2", "0"], "mine") == [0, 2]
    with pytest.raises(InputError, match=r"'[13]' is not in"):
        found.numbers_of(["1", "3"], "mine")
    with pytest.raises(InputError, match="'1' is not in"):
        found.numbers_of(["cat", "1"], "mine")


def test_order_of_names():
    assert ordered(["class_10", "class_9"]) == ["class_9", "class_10"]
    assert ordered(["10", "9", "2"], "string") == ["10", "2", "9"]
    assert ordered(["b2", "a10", "a9"]) == ["a10", "a9", "b2"]
    assert numbered(["1", "0"], None, "mine") == ["0", "1"]
    assert numbered(["2", "1"], "order", "mine") == ["1", "2"]
    with pytest.raises(InputError, match="called 1, 2: say --classes number"):
        numbered(["2", "1"], None, "mine")


def test_labels_without_names_get_those_of_the_file(refused):
    words = [f"w{k}" for k in range(10)]
    assert load_data("digits:test", limit=3, classes=words).class_names == tuple(words)
    assert "has 10 classes without names, classes 2" in refused("digits:test", classes=["a", "b"])
