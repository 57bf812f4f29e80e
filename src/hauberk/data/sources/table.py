"""Tables: CSV and Parquet files, and what Hugging Face's `datasets` saves to a folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.data.objects import with_names
from hauberk.data.source import DataSource, RawData, Request
from hauberk.data.sources.columns import columns_of
from hauberk.errors import InputError
from hauberk.spec.imports import one_line

_SPLITS = ("train", "test", "validation", "val", "valid", "dev")


def _open_csv(request: Request) -> RawData:
    path, words = request.located
    return _rows_of(request, path, words, _Whole(_csv(path)), path.parent)


CSV = DataSource(
    "csv",
    "csv:FILE[:COLUMNS:LABEL]",
    "A table with a label column: columns of numbers, or one with the paths of images.",
    _open_csv,
)


def _open_parquet(request: Request) -> RawData:
    path, words = request.located
    return _rows_of(request, path, words, Groups([path]), path.parent)


PARQUET = DataSource(
    "parquet",
    "parquet:FILE[:COLUMNS:LABEL]",
    "The same in a Parquet file, or images as Hugging Face's hub holds them.",
    _open_parquet,
)


def _open_saved(request: Request) -> RawData:
    """What `save_to_disk` wrote, or a folder of Parquet files as on the hub."""
    try:
        path, words = request.located
    except InputError as error:
        raise InputError(
            f"{error}. Nothing is downloaded: save a data set of the hub to a folder, "
            "load_dataset(NAME).save_to_disk(DIR), and give hf:DIR"
        ) from error
    if not path.is_dir():
        raise InputError(f"{request.spec}: {path} is a file: give the folder that was saved")
    path, words = _split(request, path, words)
    state = path / "state.json"
    if state.is_file():
        files = [path / row["filename"] for row in _json(state).get("_data_files", [])]
        return _rows_of(request, path, words, _Whole(_arrow(files, path)), path)
    files = sorted(path.rglob("*.parquet"))
    of_split = {file: file.name.partition("-")[0].removesuffix(".parquet") for file in files}
    splits = sorted({split for split in of_split.values() if split in _SPLITS})
    if splits:
        if not words or words[0] not in splits:
            if len(splits) > 1:
                raise _which(request, path, splits)
            words = (splits[0], *words)
        files, words = [f for f in files if of_split[f] == words[0]], words[1:]
    if not files:
        raise InputError(
            f"{request.spec}: {path} holds no state.json of save_to_disk and no Parquet files"
        )
    return _rows_of(request, path, words, Groups(files), path)


HF = DataSource(
    "hf",
    "hf:DIR[:SPLIT][:COLUMNS:LABEL]",
    "A data set of Hugging Face's datasets that save_to_disk wrote, or its Parquet files.",
    _open_saved,
)
DATASETS = DataSource("datasets", "datasets:DIR", "The same.", _open_saved)


class Groups:
    """Parquet files of which one group of rows is held at a time.

    Args:
        paths: the files, whose rows follow each other.

    Raises:
        InputError: if one cannot be read.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.files = [_opened(path) for path in paths]
        self.schema = self.files[0].schema_arrow
        self.groups = [(f, g) for f in self.files for g in range(f.metadata.num_row_groups)]
        sizes = [f.metadata.row_group(g).num_rows for f, g in self.groups]
        self.ends = np.cumsum([0, *sizes])
        self.size = int(self.ends[-1])
        self.held: tuple[int, Any] = (-1, None)

    def rows(self, start: int, stop: int, columns: list[str]) -> Any:
        """Some columns of the rows of a window."""
        import pyarrow as pa

        parts = []
        first = max(0, int(np.searchsorted(self.ends, start, "right")) - 1)
        for number in range(first, len(self.groups)):
            begin, end = int(self.ends[number]), int(self.ends[number + 1])
            if begin >= stop:
                break
            group = self._group(number, columns)
            low, high = max(start, begin) - begin, min(stop, end) - begin
            parts.append(group.slice(low, max(0, high - low)))
        return pa.concat_tables(parts)

    def _group(self, number: int, columns: list[str]) -> Any:
        file, group = self.groups[number]
        if len(columns) == 1:  # labels alone are small
            return file.read_row_group(group, columns=columns)
        if self.held[0] != number:
            self.held = (number, file.read_row_group(group, columns=columns))
        return self.held[1]


class _Whole:
    """A table in memory, or mapped into it."""

    def __init__(self, table: Any) -> None:
        self.table, self.schema, self.size = table, table.schema, table.num_rows

    def rows(self, start: int, stop: int, columns: list[str]) -> Any:
        return self.table.select(columns).slice(start, stop - start)


def _rows_of(
    request: Request, path: Path, words: tuple[str, ...], table: Groups | _Whole, folder: Path
) -> RawData:
    """The examples in the rows of a table."""
    if not table.size:
        raise InputError(f"{request.spec}: the data set is empty")
    where = f"{request.name}:{path}"
    first = table.rows(0, 1, list(table.schema.names)).to_pylist()[0]
    found = columns_of(table.schema, first, words, where, folder)
    columns = [*found.inputs, found.label]

    def read(start: int, stop: int) -> tuple[Any, Any]:
        some = table.rows(start, stop, columns)
        return found.images(some, request.reading, start), found.labels(some)

    def labels(start: int, stop: int) -> Any:
        return found.labels(table.rows(start, stop, [found.label]))

    count = len(found.names) if found.names else None
    raw = RawData(table.size, read, count, labels, found.names, fitted=True)
    return with_names(raw, request)


def _csv(path: Path) -> Any:
    """The table in a text file: commas, semicolons or tabs; a first line of numbers is no head."""
    import pyarrow as pa
    import pyarrow.csv

    try:
        with path.open(encoding="utf-8-sig") as file:
            line = file.readline().strip()
        mark = max(",;\t", key=line.count)
        cells = [cell.strip().strip('"') for cell in line.split(mark)]
        bare = all(_is_number(cell) for cell in cells)
        names = [str(k) for k in range(len(cells))] if bare else None
        return pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=names),
            parse_options=pyarrow.csv.ParseOptions(delimiter=mark),
        )
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is no readable table ({one_line(error)})") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _opened(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is no readable Parquet file ({one_line(error)})") from error


def _arrow(files: list[Path], folder: Path) -> Any:
    """The tables in Arrow files, mapped into memory."""
    import pyarrow as pa

    if not files:
        raise InputError(f"{folder / 'state.json'} names no files: save the data set again")
    tables = []
    for file in files:
        try:
            tables.append(pa.ipc.open_stream(pa.memory_map(str(file))).read_all())
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{file} is no readable Arrow file ({one_line(error)})") from error
    return pa.concat_tables(tables)


def _split(request: Request, path: Path, words: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """The folder of the split that is asked for, of a dictionary of data sets."""
    if not (path / "dataset_dict.json").is_file():
        return path, words
    splits = [str(split) for split in _json(path / "dataset_dict.json").get("splits", [])]
    if words and words[0] in splits:
        return path / words[0], words[1:]
    if len(splits) != 1:
        raise _which(request, path, splits)
    return path / splits[0], words


def _which(request: Request, path: Path, splits: list[str]) -> InputError:
    return InputError(
        f"{request.spec}: {path} holds the splits {', '.join(splits)}: write "
        f"{request.name}:{path}:{splits[-1] if splits else 'SPLIT'}"
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is no table of names and values: save the data set again")
    return found
