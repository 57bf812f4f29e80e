"""Shards of a run, merged, are the run in one piece; what are not all shards of one is refused."""

import shutil

import numpy as np
import pytest
import torch
from helpers.ledgers import require_equal
from helpers.runs import RUNS, UNION, data, net

import hauberk as hb
from hauberk.errors import InputError
from hauberk.store.files import put, to_json
from hauberk.store.ledger import Ledger

KINDS = ["evaluate", "radius", "minmax groups", "transfer", "noise"]


def shard(name, k, many, out, **how):
    ask, models = RUNS[name]
    return ask(models, *data(), **({"block": 2} | how), shard=(k, many), out=out)


@pytest.mark.parametrize("name", KINDS)
def test_merged_shards_are_the_run_in_one_piece(name, tmp_path):
    ask, models = RUNS[name]
    whole = ask(models, *data(), block=2, out=tmp_path / "whole")
    part = shard(name, 2, 3, tmp_path / "2")
    assert part.summary["shard"] == [2, 3]
    assert part.summary["n"] < whole.summary["n"]
    assert not part.summary["finished"]
    for k in (3, 1):
        shard(name, k, 3, tmp_path / str(k))
    folders = [tmp_path / str(k) for k in (2, 1, 3)]  # in any order
    found = hb.merge(folders, tmp_path / "merged")
    require_equal(tmp_path / "whole", tmp_path / "merged")
    assert type(found) is type(whole)
    for folder in folders:
        for file in (folder / "parts").iterdir():
            assert (tmp_path / "merged" / "parts" / file.name).read_bytes() == file.read_bytes()
    if name != "noise":  # that question is not rebuilt with its models
        assert hb.verify(tmp_path / "merged", models).ok
        assert hb.verify(folders[0], models).ok


def test_sizes_that_only_the_summary_names_are_kept(tmp_path):
    x, y = data()
    for k in (1, 2):
        how = {"eps": [0.1, 0.3], "block": 4, "shard": f"{k}/2", "out": tmp_path / str(k)}
        hb.radius(net(), x, y, "l2", budget=60, **how)
    hb.radius(net(), x, y, "l2", budget=60, eps=[0.1, 0.3], block=4, out=tmp_path / "whole")
    hb.merge([tmp_path / "1", tmp_path / "2"], tmp_path / "merged")
    require_equal(tmp_path / "whole", tmp_path / "merged")


def test_arrays_of_threats_and_goals_go_along(tmp_path):
    x, y = data()
    mask = torch.ones(x.shape[1:], dtype=torch.bool)
    mask[..., 0] = False
    np.save(tmp_path / "mask.npy", mask.numpy())
    np.save(tmp_path / "aims.npy", ((y + 1) % 2).numpy())
    threat = f"linf:0.2,mask={tmp_path / 'mask.npy'}"
    how = {"suite": "fast", "goal": f"target={tmp_path / 'aims.npy'}", "block": 3}
    whole = hb.evaluate(net(), x, y, threat, **how, out=tmp_path / "whole")
    for k in (1, 2):
        hb.evaluate(net(), x, y, threat, **how, shard=(k, 2), out=tmp_path / str(k))
    (tmp_path / "mask.npy").unlink()
    found = hb.merge([tmp_path / "1", tmp_path / "2"], tmp_path / "merged")
    assert found.accuracy == whole.accuracy
    require_equal(tmp_path / "whole", tmp_path / "merged")
    assert hb.verify(tmp_path / "merged", net()).ok


def test_the_floor_is_done_by_a_run_on_the_merged_shards(tmp_path):
    name = "evaluate with a floor"
    for k in (1, 2):
        shard(name, k, 2, tmp_path / str(k), block=3)
        assert not Ledger.open(tmp_path / str(k)).keys("floor-")
    assert hb.merge([tmp_path / "1", tmp_path / "2"], tmp_path / "merged") is None
    ask, models = RUNS[name]
    ask(models, *data(), block=3, out=tmp_path / "merged", resume=True)
    ask(models, *data(), block=3, out=tmp_path / "whole")
    require_equal(tmp_path / "whole", tmp_path / "merged")
    assert hb.merge([tmp_path / "1", tmp_path / "2"], tmp_path / "merged").summary["floor"]


@pytest.fixture(scope="module")
def quarters(tmp_path_factory):
    """Three shards of three, by number."""
    folder = tmp_path_factory.mktemp("quarters")
    return {k: shard("noise", k, 3, folder / f"{k}").store.path for k in (1, 2, 3)}


def test_shards_that_are_missing_twice_there_or_no_shards_are_refused(quarters, tmp_path):
    out, every = tmp_path / "merged", list(quarters.values())
    with pytest.raises(InputError, match=r"shards 1/3, 3/3 missing: give the folders of all 3"):
        hb.merge([quarters[2]], out)
    with pytest.raises(InputError, match=r"shard 2/3 is given twice, as .* and .*: give each once"):
        hb.merge([*every, quarters[2]], out)
    with pytest.raises(InputError, match="no shards: give"):
        hb.merge([], out)
    with pytest.raises(InputError, match="does not exist"):
        hb.merge([tmp_path / "x"], out)
    ask, models = RUNS["noise"]
    ask(models, *data(), block=2, out=tmp_path / "whole")
    with pytest.raises(InputError, match="is no shard, but a run on all examples"):
        hb.merge([*every, tmp_path / "whole"], out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed is 1 here but 0 there"),
        ({"shard": [3, 4]}, r"shard\[0\] is 4 here but 3 there"),
        ({"block": 3}, "block is 3 here but 2 there"),
        ({"images_crc": 1}, "images_crc is 1 here"),
    ],
)
def test_shards_of_another_run_are_refused(quarters, tmp_path, change, words):
    shutil.copytree(quarters[3], tmp_path / "other")
    manifest = Ledger.open(quarters[3]).manifest | change
    put(tmp_path / "other" / "manifest.json", to_json(manifest))
    with pytest.raises(InputError, match=f"is a shard of another run than .*: {words}"):
        hb.merge([quarters[1], quarters[2], tmp_path / "other"], tmp_path / "merged")


def test_shards_that_are_unfinished_or_hold_others_parts_are_refused(quarters, tmp_path):
    shutil.copytree(quarters[3], tmp_path / "3")
    (tmp_path / "3" / "summary.json").unlink()
    folders = [quarters[1], quarters[2], tmp_path / "3"]
    with pytest.raises(InputError, match=r"shard 3/3 in .* is not finished: run it again"):
        hb.merge(folders, tmp_path / "merged")
    for file in (tmp_path / "3" / "parts").glob("clean-00005.*"):
        file.unlink()
    with pytest.raises(InputError, match=r"not finished \(it holds no part clean-00005\)"):
        hb.merge(folders, tmp_path / "merged")
    shutil.rmtree(tmp_path / "3")
    shutil.copytree(quarters[3], tmp_path / "3")
    other = next((quarters[1] / "parts").glob("*.parquet"))
    shutil.copy(other, tmp_path / "3" / "parts" / other.name)
    with pytest.raises(InputError, match=f"both hold part {other.stem}"):
        hb.merge(folders, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_folder_of_another_run_is_not_merged_into(quarters, tmp_path):
    hb.evaluate(net(), *data(), UNION, suite="fast", out=tmp_path / "other")
    with pytest.raises(InputError, match="holds a run with other settings"):
        hb.merge(list(quarters.values()), tmp_path / "other")
    # What an interrupted merge left is gone on with.
    hb.merge(list(quarters.values()), tmp_path / "merged")
    for file in (tmp_path / "merged" / "parts").glob("clean-00002.*"):
        file.unlink()
    hb.merge(list(quarters.values()), tmp_path / "merged")
    assert Ledger.open(tmp_path / "merged").has("clean-00002")


def test_shards_without_a_block_and_of_one_perturbation_for_all_are_refused(tmp_path):
    with pytest.raises(InputError, match="shard 7/7 has nothing to do, for there are 6 blocks"):
        shard("noise", 7, 7, tmp_path / "x")
    with pytest.raises(InputError, match="made of all examples: leave shard out"):
        shard("universal", 1, 2, tmp_path / "x")
    assert not (tmp_path / "x").exists()
