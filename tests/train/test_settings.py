"""The settings of a training stand in one place: everything else follows from the fields."""

import inspect
import json
import re
from dataclasses import dataclass, field, fields

import pytest
import torch
from helpers.training import Clean, blobs, net

from hauberk.cli.main import main
from hauberk.train.fit import fit, with_keywords
from hauberk.train.settings import (
    Execution,
    Options,
    Settings,
    about,
    command_line_fields,
    described,
)

ABOUT_OTHER_THINGS = {
    "config", "help", "dry-run", "model", "weights", "data", "data-dir", "limit", "offset",
    "validation-data", "strategy", "threat", "set", "d-max", "strict",
    # How examples, weights and inputs are read.
    "sample", "sample-seed", "balanced", "resize", "crop", "rgb", "grey", "layout", "classes",
    "mean", "std", "dtype", "ignore-keys", "download",
}  # fmt: skip
"""Options of ``hauberk train`` that name model, data and strategy, or do not train at all."""


def test_keywords_of_fit_are_the_fields():
    parameters = inspect.signature(fit).parameters
    assert list(parameters)[:3] == ["model", "data", "strategy"]
    assert list(parameters)[3:] == [f.name for f in fields(Settings)] + [
        f.name for f in fields(Execution)
    ]
    for entry in fields(Options):
        assert parameters[entry.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert f"{entry.name}: " in fit.__doc__


def test_every_field_says_what_it_is_for():
    for entry in fields(Options):
        assert len(entry.metadata["help"]) > 10
        assert not entry.metadata["help"].endswith(".")
        assert described(entry).startswith(entry.metadata["help"])


def test_every_field_is_an_option_and_the_other_way_round(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", capsys.readouterr().out))
    options = {name.replace("_", "-") for name in command_line_fields()}
    assert options <= shown
    assert {name for name in shown if not name.startswith("print")} - options <= ABOUT_OTHER_THINGS


def test_config_json_records_every_setting(tmp_path):
    fit(net(), blobs(), Clean(), epochs=1, out=tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert {f.name for f in fields(Settings)} <= set(config)
    assert not {f.name for f in fields(Execution)} & set(config)


def test_an_unknown_keyword_is_refused_with_a_near_one():
    with pytest.raises(TypeError, match="no keyword 'learn_rate': see learning_rate"):
        fit(net(), blobs(), Clean(), epochs=1, learn_rate=0.1)
    with pytest.raises(TypeError, match="epochs"):
        fit(net(), blobs(), Clean())


def test_a_new_setting_is_one_field():
    @dataclass(frozen=True, kw_only=True)
    class More(Options):
        warmup: float = field(default=0.1, metadata=about("share of the steps at a lower rate"))

    @with_keywords(More)
    def train(model, data, strategy, options):
        """Train.

        Raises:
            InputError: always.
        """
        return options.warmup, options.epochs

    assert train(None, None, None, epochs=3, warmup=0.2) == (0.2, 3)
    assert inspect.signature(train).parameters["warmup"].default == 0.1
    assert "warmup: share of the steps at a lower rate; 0.1." in train.__doc__


def test_settings_are_checked_before_the_data():
    with pytest.raises(Exception, match="every_minutes is 0"):
        fit(None, None, None, epochs=1, every_minutes=0)
    with pytest.raises(Exception, match="patience is 0"):
        fit(None, None, None, epochs=1, patience=0)


def test_described_settings_are_plain():
    def slow(parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    plain = Settings(epochs=1, optimiser=slow, schedule=("steps", [(4, 0.1)])).describe()
    assert plain["optimiser"].endswith("slow")
    assert plain["schedule"] == ["steps", ((4.0, 0.1),)]
    assert plain["box"] == "[0, 1]"


def test_options_and_keywords_have_words_of_their_own():
    for entry in command_line_fields().values():
        assert "Python" not in described(entry)
        assert "command line" not in described(entry, python=True)
    schedule = command_line_fields()["schedule"]
    assert "0:0,6:1e-3,15:0" in described(schedule)
    assert '("steps", [(20_000, 0.3), ...])' in described(schedule, python=True)
