"""A run in two processes is the run of one: every kind, progress, warnings, and what goes wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.ledgers import require_equal, without_times
from helpers.processes import children, ended, within
from helpers.runs import RUNS, data

from hauberk.errors import InputError
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.together import note_idle
from hauberk.machines.group import Group
from hauberk.machines.launch import launch
from hauberk.store.ledger import Ledger

TESTS = Path(__file__).parents[2]

SCRIPT = f"""
import json, os, sys, warnings
sys.path.insert(0, {str(TESTS)!r})
from helpers.runs import RUNS, UNION, data, net
import hauberk as hb
from hauberk.machines import launch
launch.end_together()
rank, folder = os.environ["RANK"], sys.argv[1]
x, y = data()
if len(sys.argv) > 2:  # a run to be killed: the other process waits for it
    import time
    def slow(event):
        time.sleep(0.3)
    hb.evaluate(net(), x, y, UNION, suite="fast", block=1, out=folder, devices=2, progress=slow)
    sys.exit()
told = {{}}
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for name, (ask, models) in RUNS.items():
        steps = []
        found = ask(models, x, y, block=3, out=f"{{folder}}/{{name}}", devices=2,
                    progress=lambda event: steps.append(vars(event)))
        told[name] = found.summary, [s["done"] for s in steps], steps and steps[-1]["forwards"]
    ask, models = RUNS["evaluate"]
    found = ask(models, x, y, block=3, devices=2)
    told["memory"] = found.summary, [len(found.store.keys("clean-"))], 0
    told["path"] = str(found.path), [], 0
    import torch
    certain = torch.nn.Sequential(net(), torch.nn.Softmax(1))
    hb.evaluate(certain, x, y, UNION, suite="fast", block=3, devices=2)
told["warned"] = [str(w.message) for w in seen if issubclass(w.category, hb.HauberkWarning)]
json.dump(told, open(f"{{folder}}/told-{{rank}}.json", "w"), default=str)
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folder of all kinds of run in two processes, and what each of them said."""
    folder = tmp_path_factory.mktemp("both")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    assert launch([str(script), str(folder)], 2) == 0
    return folder, [json.loads((folder / f"told-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_write_what_one_writes(both, name, tmp_path):
    ask, models = RUNS[name]
    one = ask(models, *data(), block=3, out=tmp_path / "one")
    require_equal(tmp_path / "one", both[0] / name)
    for told in both[1]:
        assert told[name][0]["n"] == one.summary["n"]
        assert without_times(told[name][0]["cost"]) == without_times(one.summary["cost"])


def test_progress_is_that_of_both_and_shown_by_one(both):
    first, second = both[1]
    for name in RUNS:
        _, shares, _ = first[name]
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1)
        assert second[name][1] == []
    # Passes of both: more than one of two processes can have spent on the last block alone.
    assert first["evaluate"][2] > 0


def test_without_a_folder_the_results_are_in_memory(both):
    for told in both[1]:
        summary, parts, _ = told["memory"]
        assert parts == [4]
        assert summary["union_accuracy"] == told["evaluate"][0]["union_accuracy"]
        assert told["path"][0] == "None"


def test_a_warning_is_given_once(both):
    first, second = (told["warned"] for told in both[1])
    assert sum("returns probabilities" in line for line in first) == 1
    assert second == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for processes")
def test_a_killed_process_ends_the_run_which_another_number_takes_up(tmp_path):
    script, out = tmp_path / "script.py", tmp_path / "run"
    script.write_text(SCRIPT)
    code = f"""
from hauberk.errors import ProcessError
from hauberk.machines.launch import launch
try:
    launch([{str(script)!r}, {str(out)!r}, "slow"], 2)
except ProcessError as error:
    print(error, flush=True)"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        within(60, lambda: len(list(out.glob("parts/clean-*.parquet"))) > 3)
        below = children(process.pid)
        assert len(below) == 2
        os.kill(below[0], signal.SIGKILL)  # the one that keeps the store
        within(2, lambda: all(map(ended, below)))
        assert process.stdout.read().decode() == "process 0 of 2 was ended by SIGKILL\n"
    assert Ledger.open(out).summary() is None
    function, model = RUNS["evaluate"]
    x, y = data()
    function(model, x, y, block=1, out=out, resume=True)
    function(model, x, y, block=1, out=tmp_path / "one")
    require_equal(tmp_path / "one", out)


def test_what_another_process_would_run_must_be_the_same_run(tmp_path):
    function, model = RUNS["evaluate"]
    function(model, *data(), block=3, out=tmp_path / "run")
    manifest = dict(Ledger.open(tmp_path / "run").manifest)
    assert Ledger.join(tmp_path / "run", manifest, 1).keys("clean-")
    with pytest.raises(InputError, match="seed is 1 here but 0 there"):
        Ledger.join(tmp_path / "run", manifest | {"seed": 1}, 1)


def test_processes_without_a_block_are_noted(caplog):
    with caplog.at_level("INFO", logger="hauberk"):
        for rank, world, many in ((0, 2, 1), (1, 2, 1), (0, 2, 2), (0, 1, 1)):
            note_idle(Group(rank, world), many, 250)
    assert [record.getMessage() for record in caplog.records] == [
        "2 processes share 1 block of 250 examples: a smaller --block gives all of them work"
    ]


def test_work_that_is_not_made_of_blocks_refuses_several_processes():
    with pytest.raises(InputError, match="leave devices, nodes and shard out"):
        RunOptions(shard="1/2").require_whole("corruptions are counted")
    RunOptions().require_whole("corruptions are counted")
    with pytest.raises(InputError, match="folder that all of them see"):
        RunOptions(nodes=2)
