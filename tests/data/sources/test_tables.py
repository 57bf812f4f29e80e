"""CSV, Parquet, and what Hugging Face's datasets saves."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hauberk.data import load_data

HEAD = "age,income,label\n"
ROWS = "1,0.5,0\n2,0.25,1\n3,0,1\n"


def text(content, name="x.csv"):
    with open(name, "w", encoding="utf-8") as file:
        file.write(content)


def picture(value, mode="L", size=(4, 4)):
    pillow = pytest.importorskip("PIL.Image", reason="needs Pillow")
    file = io.BytesIO()
    pillow.new(mode, size, value).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "spec"),
    [
        (HEAD + ROWS, "csv:x.csv"),
        (HEAD + ROWS, "x.csv"),
        ("\ufeff" + HEAD + ROWS, "x.csv"),
        ((HEAD + ROWS).replace(",", ";"), "csv:x.csv"),
        ((HEAD + ROWS).replace(",", "\t"), "csv:x.csv"),
        (HEAD.replace("label", "who") + ROWS, "csv:x.csv:who"),
        (",age,income,y\n0,1,0.5,0\n1,2,0.25,1\n2,3,0,1\n", "csv:x.csv"),
        (ROWS, "csv:x.csv:-1"),
        (ROWS, "csv:x.csv:2"),
        (HEAD.replace("label", "label,id") + "1,0.5,0,a\n2,0.25,1,b\n3,0,1,c\n",
         "csv:x.csv:-id:label"),
        (HEAD.replace("label", "label,id") + "1,0.5,0,a\n2,0.25,1,b\n3,0,1,c\n",
         "csv:x.csv:age,income:label"),
    ],
)  # fmt: skip
def test_csv(content, spec):
    text(content)
    data = load_data(spec)
    assert data.images.tolist() == [[1, 0.5], [2, 0.25], [3, 0]]
    assert data.labels.tolist() == [0, 1, 1]
    assert load_data(spec, limit=1, offset=1).images.tolist() == [[2, 0.25]]


@pytest.mark.parametrize(
    ("content", "spec", "says"),
    [
        (ROWS, "csv:x.csv", "which column is the label? there are 0, 1, 2"),
        ("y,label,a\n1,1,1\n", "csv:x.csv", "y and label can all be it"),
        (HEAD + ROWS, "csv:x.csv:who", "no column 'who' among age"),
        (HEAD + ROWS, "csv:x.csv:who:label", "no column 'who' beside"),
        (HEAD + ROWS, "csv:x.csv:a:b:c", "too much"),
        ("sex,age,label\nf,1,0\n", "csv:x.csv", "'sex' holds no numbers: leave it out"),
        ("age,label\n,0\n1,1\n", "csv:x.csv", "1 empty places"),
        ("age,label\n1,\n1,1\n", "csv:x.csv", "1 rows have no label"),
        ("label\n1\n", "csv:x.csv", "no column is left"),
        ("a,label\n1\n", "csv:x.csv", "no readable table"),
        ("a,label\n", "csv:x.csv", "empty"),
    ],
)
def test_what_a_csv_does_not_say(refused, content, spec, says):
    text(content)
    assert says in refused(spec)


def test_labels_that_are_names():
    text("a,species\n1,setosa\n2,virginica\n3,setosa\n")
    data = load_data("csv:x.csv")
    assert (data.labels.tolist(), data.class_names) == ([0, 1, 0], ("setosa", "virginica"))


def test_paths_of_images(refused, tmp_path):
    (tmp_path / "d" / "img").mkdir(parents=True)
    for k in range(3):
        (tmp_path / "d" / "img" / f"{k}.png").write_bytes(picture(k))
    text("filename,label,width\nimg/0.png,cat,4\nimg/2.png,dog,4\nimg/1.png,cat,4\n", "d/x.csv")
    data = load_data("csv:d/x.csv")
    assert (data.images[:, 0, 0, 0] * 255).round().tolist() == [0, 2, 1]
    assert data.labels.tolist() == [0, 1, 0]
    text("filename,label\nimg/9.png,0\n", "d/x.csv")
    assert "img/9.png does not exist" in refused("csv:d/x.csv")


def features(**columns):
    return {b"huggingface": json.dumps({"info": {"features": columns}}).encode()}


def hub_table(n=7):
    """As Hugging Face's datasets writes images and classes."""
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": picture(k), "path": None} for k in range(n)], struct)
    table = pa.table({"image": images, "label": pa.array([k % 3 for k in range(n)])})
    label = {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}
    return table.replace_schema_metadata(features(image={"_type": "Image"}, label=label))


def save_to_disk(folder, table, parts=2):
    folder.mkdir(parents=True)
    names = [f"data-{k:05d}-of-{parts:05d}.arrow" for k in range(parts)]
    size = -(-table.num_rows // parts)
    for k, name in enumerate(names):
        with (
            pa.OSFile(str(folder / name), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as to,
        ):
            to.write_table(table.slice(k * size, size))
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": n} for n in names]})
    )


def test_what_save_to_disk_writes(refused, tmp_path):
    save_to_disk(tmp_path / "one", hub_table())
    for spec in ("hf:one", "datasets:one", "one", "hf:one:image:label"):
        data = load_data(spec, limit=4, offset=2)
        assert (data.images[:, 0, 0, 0] * 255).round().tolist() == [2, 3, 4, 5]
        assert (data.labels.tolist(), data.class_names) == ([2, 0, 1, 2], ("ant", "bee", "cat"))
    save_to_disk(tmp_path / "both" / "train", hub_table(3))
    save_to_disk(tmp_path / "both" / "test", hub_table(4))
    (tmp_path / "both" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert len(load_data("hf:both:test")) == 4
    assert "splits train, test: write hf:both:test" in refused("hf:both")
    (tmp_path / "empty").mkdir()
    assert "no state.json" in refused("hf:empty")


def test_parquet_is_read_by_groups_of_rows(tmp_path):
    pq.write_table(hub_table(), "x.parquet", row_group_size=2)
    data = load_data("parquet:x.parquet", limit=4, offset=1)
    assert (data.images[:, 0, 0, 0] * 255).round().tolist() == [1, 2, 3, 4]
    assert data.class_names == ("ant", "bee", "cat")
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for k in range(2):
        pq.write_table(hub_table(3), f"hub/data/test-{k:05d}-of-00002.parquet")
    pq.write_table(hub_table(1), "hub/data/train-00000-of-00001.parquet")
    assert len(load_data("hf:hub:test")) == 6
    assert load_data("hf:hub:test", sample=3).images.shape == (3, 1, 4, 4)


def test_columns_of_lists():
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    table = pa.table({"img": values.tolist(), "fine_label": [1, 0], "coarse_label": [0, 0]})
    pq.write_table(table, "x.parquet")
    data = load_data("parquet:x.parquet")
    assert torch.equal(data.images[:, 0], torch.from_numpy(values) / 255)
    assert data.labels.tolist() == [1, 0]
    floats = pa.table({"features": [[0.5, 0.25], [1.0, 0.0]], "y": [0, 1]})
    pq.write_table(floats, "y.parquet")
    assert load_data("y.parquet").images.tolist() == [[0.5, 0.25], [1, 0]]
