"""The house: what may import what, how large things are, one name for one thing.

What counts are imports of any kind: at the head of a module, inside functions, and for types alone.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import hauberk

SOURCE = Path(hauberk.__file__).parent
TESTS = Path(__file__).parent

LINES, BODY, PARAMETERS = 400, 60, 10

PUBLIC_CALLS = {
    "evaluate", "radius", "minmax", "universal", "transfer", "fit", "hardness", "figures",
    "__call__",
}  # fmt: skip
"""Public functions whose keywords are a contract: they may have more parameters."""

LAZY = ("cli", "__init__")
"""Where hauberk may be imported inside functions: the command starts fast, and so does `import`."""


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax tree of each module, by its dotted name below ``hauberk``."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(("hauberk", *parts)).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def file_of(name: str) -> Path:
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def room(name: str) -> str:
    """``hauberk.threats.ball`` is in the room ``threats``."""
    return [*name.split("."), "__init__"][1]


def imports(name: str) -> Iterator[tuple[str, str, bool]]:
    """Module, name and whether inside a function, of every import of hauberk in a module."""

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom) and child.module:
                if child.module.split(".")[0] == "hauberk":
                    for alias in child.names:
                        yield child.module, alias.name, inside
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    if alias.name.split(".")[0] == "hauberk":
                        yield alias.name, "", inside
            within = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from visit(child, within)

    return visit(modules()[name], False)


def imported(module: str, name: str) -> str:
    """The module that an import is of: a submodule, or the module that holds the name."""
    full = f"{module}.{name}" if name else module
    return full if full in modules() else module


@cache
def edges() -> dict[str, set[str]]:
    return {name: {imported(*pair[:2]) for pair in imports(name)} - {name} for name in modules()}


def test_no_module_imports_itself_through_others():
    left = dict(edges())
    while True:
        # A module is done when all that it imports is done: what remains runs in circles.
        done = [name for name, below in left.items() if not below & left.keys()]
        if not done:
            break
        for name in done:
            del left[name]
    # Those above a circle are left as well: strip them from the top.
    while True:
        used = set().union(*(below & left.keys() for below in left.values())) if left else set()
        top = left.keys() - used
        if not top:
            break
        left = {name: below for name, below in left.items() if name not in top}
    assert not left, f"these modules import each other: {', '.join(sorted(left))}"


def test_private_names_stay_in_their_module():
    wrong = [
        f"{name} imports {module}.{what}"
        for name in modules()
        for module, what, _ in imports(name)
        if what.startswith("_") and not what.startswith("__")
    ]
    for name, tree in modules().items():
        aliases = {
            (alias.asname or alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hauberk")
            for alias in node.names
            if f"{node.module}.{alias.name}" in modules()
        }
        wrong += [
            f"{name} uses {node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in aliases
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
        ]
    assert not wrong, "\n".join(wrong)


def test_functions_import_hauberk_only_where_starting_fast_matters():
    wrong = [
        f"{name} imports {module}.{what}"
        for name in modules()
        for module, what, inside in imports(name)
        if inside and room(name) not in LAZY
    ]
    assert not wrong, "\n".join(wrong)


def test_files_are_short():
    wrong = {
        name: count
        for name in modules()
        if (count := len(file_of(name).read_text(encoding="utf-8").splitlines())) > LINES
    }
    assert not wrong


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield name, node


def test_functions_are_short():
    wrong = {}
    for name, function in functions():
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if body and (count := body[-1].end_lineno - body[0].lineno + 1) > BODY:
            wrong[f"{name}.{function.name}"] = count
    assert not wrong


def test_functions_take_few_parameters():
    wrong = {}
    for name, function in functions():
        given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        count = len(given) - bool(given and given[0].arg in ("self", "cls"))
        if count > PARAMETERS and function.name not in PUBLIC_CALLS:
            wrong[f"{name}.{function.name}"] = count
    assert not wrong


def test_public_functions_and_classes_say_what_they_are():
    silent = [
        f"{name}.{node.name}"
        for name, tree in modules().items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if "overload" not in map(ast.unparse, node.decorator_list) and not ast.get_docstring(node)
    ]
    assert not silent


def test_one_class_a_name():
    homes = defaultdict(list)
    for name, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name)
    assert not {name: places for name, places in homes.items() if len(places) > 1}


def regions() -> set[str]:
    """Names of the regions that can be instantiated: geometries, not what geometries can do."""
    import importlib
    import inspect

    from hauberk.threats.base import Region

    found = set()
    for name in modules():
        if room(name) == "threats":
            for what, value in vars(importlib.import_module(name)).items():
                geometry = inspect.isclass(value) and issubclass(value, Region)
                if geometry and not inspect.isabstract(value):
                    found.add(what)
    return found


def test_geometry_stays_with_the_threats():
    concrete = regions()
    assert concrete
    wrong = [
        f"{name} imports {module}.{what}"
        for name in modules()
        if room(name) != "threats"
        for module, what, _ in imports(name)
        if what in concrete
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_but_threats_asks_a_region_for_its_norm():
    wrong = []
    for name, tree in modules().items():
        if room(name) not in ("engine", "objectives", "victims", "attacks", "solvers"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                sides = (node.left, *node.comparators)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "getattr", "hasattr",
            ):  # fmt: skip
                sides = ()
                if "region" in ast.unparse(node.args[0]):
                    wrong.append(f"{name}:{node.lineno} {ast.unparse(node)}")
            else:
                continue
            wrong += [
                f"{name}:{node.lineno} {ast.unparse(node)}"
                for side in sides
                if isinstance(side, ast.Attribute)
                and side.attr == "p"
                and "region" in ast.unparse(side.value)
            ]
    assert not wrong, "\n".join(wrong)


SHARED = {"helpers", "golden", "docs", "data"}
"""Folders of tests that are no rooms of the house, or hold more than tests."""

ROOTS = {"recipes": TESTS.parent}
"""Rooms whose scripts and files lie beside the package, not in it."""

BESIDE = ("test_real_", "test_known_", "test_against_")
"""Tests of several modules at once: on real data, on broken defences, against other libraries."""


def test_tests_lie_where_the_code_does():
    wrong = []
    for path in sorted(TESTS.rglob("test_*.py")):
        parts = path.relative_to(TESTS).parts
        if len(parts) == 1 or parts[0] in SHARED or path.name.startswith(BESIDE):
            continue
        folder = ROOTS.get(parts[0], SOURCE).joinpath(*parts[:-1])
        homes = {folder.name} | {home.stem for home in folder.glob("*")}
        name = path.stem.removeprefix("test_")
        if not any(name == home or name.startswith(f"{home}_") for home in homes):
            wrong.append(path.relative_to(TESTS).as_posix())
    assert not wrong, f"named after no module: {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from hauberk.maths import norms", [("hauberk.maths", "norms", False)]),
        ("import hauberk.cli", [("hauberk.cli", "", False)]),
        ("def f():\n    from hauberk import data", [("hauberk", "data", True)]),
        ("class C:\n    def f(self):\n        import hauberk.data", [("hauberk.data", "", True)]),
        ("if TYPE_CHECKING:\n    from hauberk.a import B", [("hauberk.a", "B", False)]),
        ("from hauberked import maths\nimport torch", []),
    ],
)
def test_imports_are_seen(text, found, monkeypatch):
    monkeypatch.setitem(modules(), "trial", ast.parse(text))
    assert list(imports("trial")) == found
