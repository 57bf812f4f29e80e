"""Names of classes: their order, and the numbers that a model gives them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hauberk.data.reading import Classes
from hauberk.errors import InputError
from hauberk.spec.build import did_you_mean

NUMBER, STRING, ORDER = "number", "string", "order"
_WORDNET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class ClassMap:
    """What each output of a model means.

    Attributes:
        names: of the classes, in the order of the model's outputs.
        numbers: the class of each name, identifier and synonym in lower case; -1 where two classes
            have it.
        where: where it was read, for error messages.

    Example:
        >>> found = class_map({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]})
        >>> found.numbers_of(["n01443537", "Tench"], "mine")
        [1, 0]
    """

    names: tuple[str, ...]
    numbers: Mapping[str, int]
    where: str

    def numbers_of(self, names: Iterable[str], spec: str) -> list[int]:
        """The class of each of some names; numbers that are no names are the classes themselves.

        Raises:
            InputError: for one that is not in the map, or that two classes share.
        """
        found, names = [], list(names)
        known = any(_plain(name) in self.numbers for name in names)
        if not known and all(n.isdecimal() and int(n) < len(self.names) for n in names):
            return [int(name) for name in names]
        for name in names:
            number = self.numbers.get(_plain(name))
            if number is None:
                hint = did_you_mean(_plain(name), tuple(self.numbers)) or "; it begins "
                if hint.startswith("; it"):
                    hint += ", ".join(self.names[:3])
                raise InputError(
                    f"{spec}: the class '{name}' is not in {self.where}, which holds "
                    f"{len(self.names)} classes{hint}"
                )
            if number < 0:
                raise InputError(
                    f"{spec}: '{name}' names two classes in {self.where}: use another of their "
                    "names or identifiers"
                )
            found.append(number)
        return found


def ordered(names: Iterable[str], how: object = None) -> list[str]:
    """Names of classes in the order that numbers them: of numbers by size, else as texts.

    Args:
        names: without repetition.
        how: "string" for the order of their texts in any case.

    Example:
        >>> ordered(["10", "2", "0"]), ordered(["b10", "b9"]), ordered(["cat2", "Ant", "bee"])
        (['0', '2', '10'], ['b9', 'b10'], ['Ant', 'bee', 'cat2'])
    """
    texts = sorted(names)
    parts = [re.fullmatch(r"(.*?)(\d+)", text) for text in texts]
    if how == STRING or not all(parts) or len({part[1] for part in parts if part}) > 1:
        return texts
    return sorted(texts, key=lambda text: (int(re.findall(r"\d+$", text)[0]), text))


def numbered(names: Iterable[str], how: object, spec: str) -> list[str]:
    """The same order, where the names alone say which class has which number.

    Raises:
        InputError: for numbers that are not those from 0 on, unless `how` says what they mean: is
            3 the class 3, or the first?

    Example:
        >>> numbered(["1", "0"], None, "mine"), numbered(["7", "3"], "number", "mine")
        (['0', '1'], ['3', '7'])
    """
    found = ordered(names, how)
    if how is not None or not all(name.isdecimal() for name in found):
        return found
    if [int(name) for name in found] != [*range(len(found))]:
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise InputError(
            f"{spec}: the classes are called {shown}: say --classes number if those are the "
            "model's numbers of them, --classes order if the first is its class 0"
        )
    return found


def class_map(given: Classes, where: str | None = None) -> ClassMap:
    """What each output of a model means, from a file or an object.

    Args:
        given: a text file of one class a line, in the order of the outputs (identifiers, synonyms
            after commas), or with numbers before or behind; JSON or YAML with a list, with
            ``{"0": ["n01440764", "tench"], ...}``, ``{"tench": 0, ...}`` or the ``id2label`` of a
            model's configuration; names with commas between; or such a list or dictionary.
        where: what to call it in error messages.

    Raises:
        InputError: if the file is missing or says nothing of the kind.

    Example:
        >>> class_map("cat,dog").names
        ('cat', 'dog')
        >>> class_map({"dog": 1, "cat": 0}).numbers
        {'cat': 0, 'dog': 1}
    """
    if isinstance(given, str | Path):
        path = Path(given).expanduser()
        if not path.is_file():
            if "," in str(given):
                return class_map([word.strip() for word in str(given).split(",")], "--classes")
            raise InputError(
                f"classes {given}: there is no such file: give one, names with commas between, "
                "number, order or string"
            )
        return class_map(_read(path), str(path))
    where = where or "classes"
    rows = _rows(given, where)
    numbers = sorted(rows)
    if not numbers or numbers != [*range(len(numbers))]:
        first = f"from {numbers[0]} to {numbers[-1]}" if numbers else "not at all"
        raise InputError(
            f"{where}: its {len(numbers)} classes are numbered {first}: number them from 0, as the "
            "model's outputs are, each once"
        )
    found: dict[str, int] = {}
    for number in numbers:
        for name in dict.fromkeys(_plain(name) for name in rows[number]):
            found[name] = -1 if name in found else number
    return ClassMap(tuple(_shown(rows[number]) for number in numbers), found, where)


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_\-\s]+", " ", str(name)).split()).casefold()


def _shown(names: Sequence[str]) -> str:
    """The name to show: the first that is no identifier and no list of synonyms."""
    words = [name for name in names if not _WORDNET.fullmatch(name) and "," not in name]
    return words[0] if words else names[0]


def _rows(given: Any, where: str) -> dict[int, list[str]]:
    """The names of each class, by its number."""
    if isinstance(given, Mapping):
        for key in ("id2label", "names"):
            if isinstance(given.get(key), Mapping | Sequence):
                return _rows(given[key], where)
        if all(_is_number(key) for key in given):
            return {int(key): _names(value) for key, value in given.items()}
        if all(_is_number(value) for value in given.values()):
            found: dict[int, list[str]] = {}
            for name, value in given.items():
                found.setdefault(int(value), []).extend(_names(name))
            return dict(sorted(found.items()))
    rows = given if isinstance(given, Sequence) and not isinstance(given, str | bytes) else ()
    if rows and all(isinstance(row, str | int | float | bool | list | tuple) for row in rows):
        return {number: _names(row) for number, row in enumerate(rows)}
    raise InputError(
        f"{where}: no classes in it: give a list of names, or a dictionary of numbers and names"
    )


def _names(value: Any) -> list[str]:
    """All names of a class: each synonym, and the whole text."""
    if isinstance(value, list | tuple):
        return [name for each in value for name in _names(each)]
    text = str(value).strip()
    head, _, rest = text.partition(" ")
    if _WORDNET.fullmatch(head) and rest.strip():
        return [head, *_names(rest.strip())]
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return [*parts, text] if len(parts) > 1 else [text]


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and str(value).isdecimal()


def _read(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in (".yaml", ".yml"):
            return yaml.safe_load(text)
        if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
            return json.loads(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        raise InputError(f"classes {path} cannot be read: {' '.join(str(error).split())}") from None
    return _lines(text, path)


def _lines(text: str, path: Path) -> Any:
    """The classes of a text file: numbered where all its lines are."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and all(re.match(r"\S+\s+\d+\s+\S", line) for line in lines):
        raise InputError(
            f"{path}: its lines have a number in the middle, as ImageNet's development kit, whose "
            "numbers are not those of the usual models: give lines in the order of the outputs"
        )
    for pattern, name, number in (
        (r"(\d+)[\s:,;]+(\S.*)", 2, 1),
        (r"(.*\S)[\s:,;]+(\d+)", 1, 2),
    ):
        found = [re.fullmatch(pattern, line) for line in lines]
        rows = [(int(m[number]), m[name]) for m in found if m]
        if lines and len(rows) == len(lines) and len({row[1] for row in rows}) == len(rows):
            if len({row[0] for row in rows}) < len(rows):
                raise InputError(f"{path}: two of its lines have the same number: correct it")
            return dict(rows)
    return lines
