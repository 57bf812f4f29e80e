"""The options of every run: one list, which help, signatures and type checkers see."""

import inspect

import pytest
import torch

import hauberk as hb
from hauberk.evaluation import transfer
from hauberk.evaluation.core.options import OPTIONS, RunFields, RunOptions, with_run_options

FUNCTIONS = (hb.evaluate, hb.radius, hb.minmax, hb.universal, transfer)
NAMES = [
    "box", "seed", "ids", "batch_size", "threads", "out", "resume", "progress", "manifest",
    "batch_dependent", "block", "devices", "nodes", "shard",
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_signatures_spell_the_options_out(function):
    parameters = inspect.signature(function).parameters
    assert set(NAMES) < set(parameters)
    assert list(parameters)[1:3] == ["images", "labels"]
    assert "run" not in parameters
    for name in NAMES:
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == inspect.signature(RunOptions).parameters[name].default


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_help_explains_each_option_once(function):
    text = inspect.getdoc(function)
    for name in NAMES:
        assert text.count(f"\n    {name}: ") == 1, name
    assert "\n    run: " not in text


def test_the_three_lists_are_one():
    assert list(RunFields.__annotations__) == NAMES
    assert list(inspect.signature(RunOptions).parameters) == NAMES
    assert [line.split(":")[0].strip() for line in OPTIONS.split("\n") if line[8] != " "] == NAMES


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_an_unknown_keyword_lists_the_known_ones(function):
    with pytest.raises(TypeError, match=r"has no argument 'sed': it has .*seed"):
        function(None, None, None, None, sed=3)


def test_resume_needs_a_folder_and_blocks_an_example():
    with pytest.raises(hb.InputError, match="give out="):
        RunOptions(resume=True)
    with pytest.raises(hb.InputError, match="block is 0"):
        RunOptions(block=0)


def test_functions_of_ones_own_can_have_the_options():
    @with_run_options
    def mine(model, *, pace=1, **run):
        """Mine.

        Args:
            pace: of it.
            run: the options of every run.
        """
        return model, pace, run

    assert mine(3, seed=2) == (3, 1, {"seed": 2})
    assert list(inspect.signature(mine).parameters) == ["model", "pace", *NAMES]
    assert "seed: of all random numbers" in mine.__doc__
    with pytest.raises(TypeError, match="'sed'"):
        mine(3, sed=2)


def test_ids_keep_their_draws_in_every_kind():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).double()
    x = torch.rand(6, 1, 2, 2).double()
    found = hb.universal(net, x, net(x).argmax(1), "linf:0.1", ids=torch.arange(6) + 40, epochs=1)
    assert found.store.rows("clean-")["id"].tolist() == [*range(40, 46)]
