"""The package as a whole: what importing it costs, what it exports, which layer imports which."""

import ast
import inspect
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import hauberk

SOURCE = Path(hauberk.__file__).parent
HEAVY = (
    "jsonargparse", "kornia", "matplotlib", "pyarrow", "rich", "safetensors", "scipy", "sklearn",
    "torchvision",
)  # fmt: skip

# Every package and module of hauberk, and what it may import besides itself and FREE.
FREE = {"__about__", "errors"}
MATHS = {"maths", "spec"}
THREATS = MATHS | {"threats"}
VICTIMS = THREATS | {"transforms", "victims"}
ENGINE = VICTIMS | {"engine", "objectives"}
ATTACKS = ENGINE | {"attacks"}
SOLVERS = ATTACKS | {"exact", "models", "solvers"}
RUNS = SOLVERS | {"data", "evaluation", "machines", "report", "store"}
ROOMS = RUNS | {"analysis", "train"}
LAYERS: dict[str, set[str]] = {
    "__about__": set(),
    "errors": set(),
    "machines": set(),
    "maths": set(),
    "spec": set(),
    "store": set(),
    "threats": MATHS,
    "transforms": MATHS,
    "data": THREATS,
    "models": {"data", "maths", "spec"},
    "victims": THREATS,
    "objectives": VICTIMS,
    "engine": VICTIMS | {"objectives"},
    "attacks": ENGINE,
    "solvers": ATTACKS,
    "exact": ATTACKS | {"models"},
    "report": set(),
    "evaluation": RUNS - {"evaluation", "models"},
    "analysis": RUNS,
    "train": RUNS,
    "demo": ROOMS,
    "cli": ROOMS | {"demo"},
    "__main__": {"cli"},
    "__init__": ROOMS,
}


def modules_after(code: str) -> set[str]:
    """Top-level modules that ``code`` adds to a new interpreter that has imported torch."""
    script = f"import sys, torch\nbefore = set(sys.modules)\n{code}\n"
    script += "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    paths = [str(SOURCE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_importing_adds_only_itself():
    added = modules_after("import hauberk")
    assert "hauberk" in added
    assert added - {"hauberk"} <= sys.stdlib_module_names


def test_public_names_load_no_heavy_module():
    # None in sys.modules makes an import fail: what is not needed may be absent or broken.
    blocked = f"sys.modules.update(dict.fromkeys({HEAVY!r}))"
    names = "import hauberk\nfor name in hauberk.__all__:\n    getattr(hauberk, name)"
    modules_after(f"{blocked}\n{names}")


def test_a_radius_is_asked_for_like_a_run():
    assert list(inspect.signature(hauberk.radius).parameters)[:4] == [
        "model",
        "images",
        "labels",
        "metric",
    ]


def test_heavy_modules_are_seen():
    assert "sklearn" in modules_after("import hauberk\nhauberk.data.load_data('digits:test')")


def test_version_is_that_of_the_installed_package():
    try:
        installed = metadata.version("hauberk")
    except metadata.PackageNotFoundError:
        pytest.skip("hauberk is not installed: it runs from its source folder")
    assert hauberk.__version__ == installed


@pytest.mark.parametrize("name", hauberk.__all__)
def test_public_names_resolve(name):
    assert getattr(hauberk, name) is not None
    assert name in dir(hauberk)


def test_type_checkers_see_the_names_that_are_there():
    tree = ast.parse(Path(hauberk.__file__).read_text(encoding="utf-8"))
    seen = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for line in node.body:
                home = line.module.removeprefix("hauberk").removeprefix(".")
                seen |= {alias.asname: home for alias in line.names}
    listed = {name: home for home, names in hauberk.HOMES.items() for name in names.split()}
    assert seen == listed
    assert sum(len(names.split()) for names in hauberk.HOMES.values()) == len(listed)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = hauberk.nothing_of_the_kind


class Imports(ast.NodeVisitor):
    """Collects what a module imports of hauberk: at its head, in functions, for type checkers."""

    def __init__(self):
        self.found = set()

    def visit_Import(self, node):
        self.found.update(self.part(alias.name) for alias in node.names)

    def visit_ImportFrom(self, node):
        if node.level:
            self.found.add("a relative import")
        elif node.module == "hauberk":
            self.found.update(alias.name for alias in node.names)
        else:
            self.found.add(self.part(node.module))

    @staticmethod
    def part(name):
        """``hauberk.maths.norms`` is part of ``maths``; the whole package and others are not."""
        head, _, rest = name.partition(".")
        return (rest.partition(".")[0] or "hauberk itself") if head == "hauberk" else None


def imports(text):
    visitor = Imports()
    visitor.visit(ast.parse(text))
    return visitor.found - {None}


def layer(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_every_part_has_a_place_in_the_table():
    assert {layer(path) for path in SOURCE.rglob("*.py")} == set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_imports_go_down_only(name):
    allowed = LAYERS[name] | FREE | {name}
    wrong = {
        f"{path.relative_to(SOURCE)} imports {part}"
        for path in SOURCE.rglob("*.py")
        if layer(path) == name
        for part in imports(path.read_text(encoding="utf-8")) - allowed
    }
    assert not wrong


def test_the_table_has_no_circles():
    placed = set(FREE)
    while rest := {name: below - placed for name, below in LAYERS.items() if name not in placed}:
        free = {name for name, missing in rest.items() if not missing}
        assert free, f"{sorted(rest)} import each other"
        placed |= free


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import hauberk", {"hauberk itself"}),
        ("import hauberk.maths.norms as n, torch", {"maths"}),
        ("from hauberk import cli, errors", {"cli", "errors"}),
        ("from hauberk.attacks.pgd import PGD", {"attacks"}),
        ("def f():\n    from hauberk.engine import loop", {"engine"}),
        (
            "if TYPE_CHECKING:\n    import hauberk.cli\nelse:\n    import hauberk.data",
            {"cli", "data"},
        ),
        ("if typing.TYPE_CHECKING:\n    from hauberk.attacks import Attack", {"attacks"}),
        ("if here:\n    if there:\n        import hauberk.train", {"train"}),
        ("from . import norms", {"a relative import"}),
        ("from hauberked import maths", set()),
    ],
)
def test_imports_are_found(text, found):
    assert imports(text) == found
