"""Data from the user's own code."""

import sys

import numpy as np
import pytest
import torch

from hauberk.data import load_data

CODE = """
import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset
import hauberk.data

X = torch.linspace(0, 1, 24).reshape(6, 1, 2, 2)
Y = torch.arange(6)
pair = (X, Y)
lists = [X.numpy(), [0, 1, 2, 3, 4, 5]]
tensors = TensorDataset(X, Y)
ours = hauberk.data.Dataset(X, Y, Y, "mine", 6)
def function(): return tensors

class Items(Dataset):
    classes = list("abcdef")
    def __len__(self): return 6
    def __getitem__(self, index): return X[index], index

class Stream(IterableDataset):
    def __iter__(self): return iter(())

class Bad(Items):
    item = None
    def __getitem__(self, index): return self.item(index)

class Dicts(Bad): item = lambda self, i: {"image": X[i]}
class Sizes(Bad): item = lambda self, i: (torch.zeros(1, i + 1), 0)
class Types(Bad): item = lambda self, i: (X[i] if i else X[i].double(), 0)
class Floats(Bad): item = lambda self, i: (X[i], 0.5)
class Vectors(Bad): item = lambda self, i: (X[i], torch.ones(2, dtype=torch.long))
class Ragged(Bad): item = lambda self, i: (X[i], [0] * i)
class Fails(Bad):
    def item(self, i): raise OSError("disk is\\nfull")

def fails(): raise OSError("no disk")
def needs(path): return pair
uint8 = (np.full((2, 5, 5, 3), 255, np.uint8), np.array([0, 1]))
ints = (Y.reshape(6, 1), Y)
short = (X, Y[:5])
float_labels = (X, Y.float())
nan = (X / X, Y)
empty = (X[:0], Y[:0])
grad = (X.clone().requires_grad_(), Y)
number = 3
text = "ab"
"""


@pytest.fixture(autouse=True)
def _code(tmp_path):
    (tmp_path / "mydata.py").write_text(CODE)
    sys.modules.pop("mydata", None)


@pytest.mark.parametrize(
    ("attr", "classes"),
    [
        ("pair", None),
        ("lists", None),
        ("tensors", None),
        ("ours", 6),
        ("function", None),
        ("Items", 6),
        ("grad", None),
        ("float_labels", None),
    ],
)
@pytest.mark.parametrize("where", ["mydata", "mydata.py"])
def test_imported(where, attr, classes):
    data = load_data(f"{where}:{attr}", limit=3, offset=2)
    assert torch.equal(data.images, torch.linspace(0, 1, 24).reshape(6, 1, 2, 2)[2:5])
    assert not data.images.requires_grad
    assert (data.labels.tolist(), data.ids.tolist()) == ([2, 3, 4], [2, 3, 4])
    assert (data.name, data.classes) == (f"{where}:{attr}", classes)


def test_imported_uint8():
    assert torch.equal(load_data("mydata:uint8").images, torch.ones(2, 3, 5, 5))


def test_only_the_window_is_read(refused, tmp_path):
    (tmp_path / "mydata.py").write_text(
        CODE + "\nclass Late(Bad):\n    def item(self, i): return X[i], 5 // i"
    )
    assert load_data("mydata:Late", offset=1, limit=2).labels.tolist() == [5, 2]
    assert "item 0 failed: ZeroDivisionError" in refused("mydata:Late")


@pytest.mark.parametrize(
    ("attr", "says"),
    [
        ("Stream", "empty"),
        ("Dicts", "item 0: it holds image, but no labels"),
        ("Sizes", "make all images alike"),
        ("Types", "make all images alike"),
        ("Floats", "label of example 0 is 0.5"),
        ("Vectors", "marks 2 classes"),
        ("Ragged", "labels"),
        ("Fails", "item 0 failed: OSError: disk is full (mydata.py"),
        ("fails", "OSError: no disk (mydata.py"),
        ("needs", "without arguments"),
        ("ints", "images are torch.int64"),
        ("short", "6 images but 5 labels"),
        ("nan", "NaN or infinite"),
        ("empty", "empty"),
        ("number", "gave a int"),
        ("text", "gave a str"),
        ("par", "did you mean pair?"),
    ],
)
def test_imported_errors(refused, attr, says):
    assert says in refused(f"mydata:{attr}")


def test_items_may_be_images_of_other_libraries(tmp_path):
    pytest.importorskip("PIL.Image", reason="needs Pillow").new("RGB", (6, 4), (255, 0, 0)).save(
        tmp_path / "1.png"
    )
    (tmp_path / "mydata.py").write_text(
        "from PIL import Image\ndata = [(Image.open('1.png'), label) for label in (1, 0, 2)]"
    )
    data = load_data("mydata:data")
    assert data.images.shape == (3, 3, 4, 6)
    assert np.isclose(data.images.mean().item(), 1 / 3)
