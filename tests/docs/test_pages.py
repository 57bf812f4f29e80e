"""The code of README, CONTRIBUTING and docs runs, and says what the pages say."""

import contextlib
import gc
import importlib.util
import inspect
import io
import itertools
import re
import shlex
import shutil
from functools import cache
from pathlib import Path

import pytest

from hauberk import attacks
from hauberk.cli.main import COMMANDS, main
from hauberk.cli.strategy import NAMES
from hauberk.data.sources import SOURCES
from hauberk.evaluation.core.question import Question
from hauberk.models.sources import SOURCES as MODELS
from hauberk.solvers.registry import SOLVERS, solver_class

ROOT = Path(__file__).resolve().parents[2]


def loaded(path):
    """A Python file that lies in no package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = loaded(ROOT / "docs" / "regenerate.py")
TABLES = (SOURCES, MODELS, Question.kinds)  # by which the package finds what is added to it
PAGES = {page.relative_to(ROOT).as_posix(): page for page in pages.PAGES}
BLOCKS = {name: pages.blocks(page) for name, page in PAGES.items()}
CONSOLE = [
    pytest.param(name, command, block.skipped, id=f"{name}:{block.line}-{number}")
    for name, found in BLOCKS.items()
    for block in found
    for number, command in enumerate(pages.commands(block))
    if command.argv[0] == "hauberk"
]
pytestmark = pytest.mark.filterwarnings("default::hauberk.errors.HauberkWarning")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("pages")
    pages.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def folders(files, tmp_path_factory):
    """By page, a copy of that folder with the files that the page writes."""

    @cache
    def folder(name):
        made = tmp_path_factory.mktemp("page") / "work"
        shutil.copytree(files, made)
        for block in BLOCKS[name]:
            if block.file:
                (made / block.file).write_text(block.text)
        return made

    return folder


def entries(help_text):
    """The options of a help text, with what it says of each."""
    parts = re.split(r"^  (?=-)", "\n".join(help_text), flags=re.M)[1:]
    texts = [" ".join(part.split()) for part in parts]
    return {text.split()[0]: text for text in texts if "--print_config" not in text}


@cache
def options(command):
    """The long options that `hauberk COMMAND --help` lists."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([command, "--help"])
    return frozenset(re.findall(r"--[a-z][a-z0-9-]*", printed.getvalue()))


@pytest.fixture
def _tables():
    """What a page adds to a table of the package is gone after it."""
    before = [dict(table) for table in TABLES]
    yield
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)
    gc.collect()  # and classes, which their parents list


@pytest.mark.usefixtures("_tables")
@pytest.mark.parametrize(
    "name", [n for n in PAGES if any(b.language == "python" for b in BLOCKS[n])]
)
def test_python_blocks_run(name, folders):
    namespace = {"__name__": "__page__"}
    with pages.inside(folders(name)):
        for block in BLOCKS[name]:
            if block.language == "python" and not block.skipped and not block.file:
                code = "\n" * (block.line - 1) + block.text
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(code, PAGES[name], "exec"), namespace)


@pytest.mark.parametrize(("name", "command", "skipped"), CONSOLE)
def test_commands_run_or_are_understood(name, command, skipped, folders):
    argv = command.argv
    used = {word.partition("=")[0] for word in argv[2:] if word.startswith("--")}
    assert used <= options(argv[1]), "no such option"
    if skipped:
        return
    with pages.inside(folders(name)):
        if "--help" in argv:
            got = pages.output(argv)
            assert entries(command.shown) == entries(got), "run make docs"
        elif command.shown:
            got = pages.abridged(pages.output(argv), command.shown)
            assert pages.alike(got, command.shown), "\n".join(["run make docs:", *got])
        elif "--dry-run" in options(argv[1]):
            pages.output([*argv, "--dry-run"])


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for name, page in PAGES.items():
        used = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M))
        assert used <= targets, name


def test_links_lead_somewhere():
    for name, page in PAGES.items():
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{name} links to {link}"


def test_files_named_by_design_and_contributing_exist():
    for name in ("docs/design.md", "CONTRIBUTING.md"):
        text = PAGES[name].read_text(encoding="utf-8")
        for path in re.findall(r"`([a-z0-9_/]+\.(?:py|md))`", text):
            roots = (ROOT, ROOT / "src", ROOT / "src" / "hauberk")
            assert any((root / path).exists() for root in roots), path


def test_design_lists_the_layers_from_top_to_bottom():
    packages = {path.parent.name for path in (ROOT / "src/hauberk").glob("*/__init__.py")}
    shown = [name.strip("`") for name, _ in rows("docs/design.md", "package")]
    assert sorted(shown) == sorted(packages)
    below = loaded(ROOT / "tests" / "test_package.py").LAYERS
    for place, name in enumerate(shown):
        assert not below[name] & set(shown[:place]), f"{name} imports what stands above it"


def test_readme_is_short():
    assert len(PAGES["README.md"].read_text(encoding="utf-8").splitlines()) <= 150


def test_readme_names_every_command_and_paper():
    text = PAGES["README.md"].read_text(encoding="utf-8")
    papers = [f"docs/papers/{page.name}" for page in (ROOT / "docs" / "papers").glob("*.md")]
    assert [
        name for name in COMMANDS if f"`{name}`" not in text and f"hauberk {name}" not in text
    ] == []
    assert [page for page in papers if f"({page})" not in text] == []


def test_every_command_is_listed():
    shown = {
        c.argv[1] for b in BLOCKS["docs/cli.md"] for c in pages.commands(b) if "--help" in c.argv
    }
    assert shown == set(COMMANDS)


def rows(page, heading):
    """The cells of the table of a page whose head starts with ``heading``."""
    lines = PAGES[page].read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def test_data_sources_are_all_listed():
    shown = {usage.replace("\\|", "|"): about for usage, about in rows("docs/index.md", "source")}
    assert shown == {f"`{source.usage}`": source.about for source in SOURCES.values()}


def test_model_sources_are_all_listed():
    shown = dict(rows("docs/index.md", "model"))
    assert shown == {f"`{source.usage}`": source.about for source in MODELS.values()}


def test_strategies_are_all_listed():
    shown = {
        name.strip("`")
        for names, *_ in rows("docs/train.md", "strategy")
        for name in names.split(", ")
    }
    assert shown == set(NAMES)


def test_attacks_are_all_listed():
    kinds = {name for name in attacks.__all__ if inspect.isclass(getattr(attacks, name))}
    text = PAGES["docs/attacks.md"].read_text(encoding="utf-8")
    assert {name for name in kinds if f"`{name}`" not in text} <= {"Attack"}


def test_solvers_are_listed_with_their_cost():
    shown = {name.strip("`"): passes for name, *_, passes in rows("docs/attacks.md", "solver")}
    assert set(shown) == set(SOLVERS)
    for name in set(SOLVERS) - {"best"}:
        solver = solver_class(name)()
        ranking = bool(getattr(solver, "targets", 0))
        cost = solver.attempts(10) * solver.passes + ranking
        assert shown[name].replace(",", "") == str(cost), name


def test_suites_are_listed_with_their_cost():
    listed = "\n".join(pages.output(["hauberk", "evaluate", "--list-suites"]))
    costs = dict(re.findall(r"^(\S+) \(version \d+\): (.*?);", listed, re.M))
    shown = {}
    for names, cost, _ in rows("docs/suites.md", "suite"):
        for name, numbers in zip(names.split(", "), re.split("; (?=[0-9,]+$)", cost), strict=False):
            shown[name.strip("`")] = re.findall(r"\d+", numbers.replace(",", ""))
    assert shown == {name: re.findall(r"\d+", numbers) for name, numbers in costs.items()}


@pytest.mark.parametrize(
    ("got", "shown", "same"),
    [
        ("l2  0.7053  51.0%", "l2 0.71 49%", True),
        ("l2  0.7053  51.0%", "l2 0.9 51%", False),
        ("l2  0.7053", "l1 0.7053", False),
        ("1,234 passes", "1,235 passes", True),
        ("a ─── b", "a ───── b", True),
    ],
)
def test_numbers_may_differ_by_rounding(got, shown, same):
    assert pages.alike([got], [shown]) is same


def test_left_out_lines_are_matched():
    got = ["a 1", "b 2", "c 3", "d 4", "e 5"]
    assert pages.abridged(got, ["a 0", "...", "d 0"]) == ["a 1", "...", "d 4", "e 5"]
    assert pages.abridged(got, ["a 0", "..."]) == ["a 1", "..."]


def test_commands_and_their_output_are_told_apart():
    block = pages.Block(1, "console", "$ hauberk a \\\n   --b 1\n\nx\n\n$ ls # list\n", "")
    assert [(c.argv, c.shown) for c in pages.commands(block)] == [
        (shlex.split("hauberk a --b 1"), ["x"]),
        (["ls"], []),
    ]
