"""What verification looks at, in the ledger of every kind of run."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from helpers.questions import Shake, UnderNoise
from helpers.runs import data, net
from safetensors.torch import load_file, save_file

import hauberk as hb
from hauberk.evaluation.core.options import RunOptions
from hauberk.evaluation.core.run import run as ask
from hauberk.threats import Linf


@dataclass
class Set:
    images: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor


def test_every_run_is_verified(run):
    ledger, models = run
    x, y = data()
    found = hb.verify(ledger.path, models, data=Set(x, y, torch.arange(12)))
    assert found.ok, str(found)
    assert found.finished
    assert found.points == found.confirmed > 0
    assert "confirmed, 0 refuted" in str(found)


def test_every_run_of_another_model_is_refuted(run):
    ledger, models = run
    other = net(9) if not isinstance(models, dict) else {"a": net(8), "b": net(9)}
    found = hb.verify(ledger.path, other)
    assert not found.ok
    names = ledger.manifest["model_draws"]
    told = [f"the weights of model {name} differ from the run's" for name in names]
    assert [line.partition(":")[0] for line in found.problems[: len(names)]] == told


def test_a_changed_point_is_found_in_every_run(run):
    ledger, models = run
    for key in ledger.keys(""):
        tensors = ledger.tensors(key)
        if len(tensors.get("points", ())):
            tensors["points"][0] = 0.5
            save_file(tensors, ledger.path / "parts" / f"{key}.safetensors")
            break
    assert load_file(ledger.path / "parts" / f"{key}.safetensors")["points"][0].unique() == 0.5
    assert not hb.verify(ledger.path, models).ok


def test_a_changed_row_is_found_in_every_run(run):
    ledger, models = run
    key = next(k for k in ledger.keys("") if len(ledger.tensors(k).get("points", ())))
    file = ledger.path / "parts" / f"{key}.parquet"
    table = pq.ParquetFile(file).read()
    values = np.array(table.column("distance").to_pylist())
    values[ledger.part(key)["broken"].astype(bool)] += 0.01
    values += 0.01
    place = table.column_names.index("distance")
    pq.write_table(table.set_column(place, "distance", pa.array(values)), file)
    assert "another distance" in str(hb.verify(ledger.path, models))


def test_a_changed_manifest_is_found_in_every_run(run):
    ledger, models = run
    file = ledger.path / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {"labels_crc": 7}))
    assert "manifest.json was changed" in str(hb.verify(ledger.path, models))


class ShakeAll(Shake):
    keeps_all = True


@dataclass(frozen=True)
class AllUnderNoise(UnderNoise):
    kind = "noise, all points kept"

    def tasks(self, setting):
        return [ShakeAll("noise-{}-0", "noise", Linf(self.strengths[0]))]


def test_a_point_that_breaks_and_is_not_recorded_so_is_found(tmp_path):
    model, (x, y) = net(8), data()
    y = model(x).argmax(1)
    question = AllUnderNoise((0.9,))
    ask(question, {"model": model}, x, y, RunOptions(out=tmp_path / "r"))
    assert hb.verify(tmp_path / "r", model).ok
    file = tmp_path / "r/parts/noise-00000-0.parquet"
    table = pq.ParquetFile(file).read()
    broken = table.column("broken").to_pylist()
    assert True in broken
    broken[broken.index(True)] = False
    at = table.column_names.index("broken")
    pq.write_table(table.set_column(at, "broken", pa.array(broken)), file)
    problems = " ".join(hb.verify(tmp_path / "r", model).problems)
    assert "breaks now, and is not recorded as broken" in problems
