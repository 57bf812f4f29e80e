"""Models and data that the options name."""

import hashlib
from dataclasses import dataclass

import pytest

from hauberk.cli.load import NamedModel, load_by_name, named_models, recorded
from hauberk.cli.options import DataOptions, DeviceOptions, ModelsOptions
from hauberk.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Both(ModelsOptions, DataOptions, DeviceOptions):
    def run(self):
        return 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no model"),
        ({"model": ["a.py:f", "b.py:f"], "weights": ["a.pt"]}, "2 models but 1 weights"),
        ({"model": ["a.py:f"], "name": ["a", "b"]}, "1 models but 2 names"),
        ({"model": ["a.py:f", "b.py:f"], "name": ["a", "a"]}, "of its own"),
        ({"model": ["a.py:f"], "weights": ["gone.pt"]}, "no such file"),
    ],
)
def test_models_weights_and_names_belong_together(options, message):
    with pytest.raises(InputError, match=message):
        named_models(Both(**options))


def test_what_a_manifest_records(tmp_path):
    file = tmp_path / "a.pt"
    file.write_bytes(b"weights")
    options = Both(
        model=["a.py:f", "b.py:f"], weights=[str(file), "none"], data="digits:test", limit=3,
        argv=("minmax", "--limit", "3"),
    )  # fmt: skip
    named = named_models(options)
    assert named == [NamedModel("a.py:f", str(file)), NamedModel("b.py:f", None)]
    facts = recorded(named, options)
    digest = hashlib.sha256(b"weights").hexdigest()
    assert facts["weights_sha256"] == [digest, None]
    assert (facts["data"], facts["limit"], facts["offset"]) == ("digits:test", 3, 0)
    assert facts["command"] == ["hauberk", "minmax", "--limit", "3"]
    assert recorded(named[0], options)["model"] == "a.py:f"


def test_models_are_loaded_by_the_names_given_or_names_of_their_own(tmp_path):
    for name, size in (("one", 2), ("two", 3)):
        (tmp_path / f"{name}.py").write_text(
            f"from torch import nn\ndef net():\n    return nn.Linear({size}, {size})\n"
        )
    files = [f"{tmp_path / name}.py:net" for name in ("one", "two", "one")]
    for given, names in (([], ["net", "net (2)", "net (3)"]), (["c", "a", "b"], ["c", "a", "b"])):
        options = Both(model=files, name=given)
        found = load_by_name(named_models(options), options, options)
        assert list(found) == names
        assert [model.in_features for model in found.values()] == [2, 3, 2]
