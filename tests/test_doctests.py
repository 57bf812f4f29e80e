"""The examples in docstrings run, and every public class and function has one."""

import doctest
import inspect
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
import torch

import hauberk

SOURCE = Path(hauberk.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PROMPT = ">>>"


def module_of(path):
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")}
WITH_EXAMPLES = sorted(name for name, text in SOURCES.items() if PROMPT in text)
PACKAGES = sorted(
    module_of(path)
    for path in SOURCE.rglob("__init__.py")
    if "__all__" in path.read_text(encoding="utf-8")
)


def failures(module):
    """What the examples of a module print instead of what they promise; "" if all is well."""
    runner, report = doctest.DocTestRunner(optionflags=FLAGS), StringIO()
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__):
        torch.manual_seed(0)
        runner.run(example, out=report.write)
    return report.getvalue()


def without_example(package):
    """The classes and functions that a package exports and whose own docstring has no example."""
    module = import_module(package)
    exported = {name: getattr(module, name) for name in module.__all__}
    return sorted(
        name
        for name, value in exported.items()
        if inspect.isclass(value) or inspect.isfunction(value)
        if PROMPT not in own_docstring(value)
    )


def own_docstring(value):
    """The docstring of a class or function; a class does not inherit its parent's."""
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    return text or ""


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = failures(import_module(name))
    assert not report, report
    assert not list(tmp_path.iterdir()), "an example writes files"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_have_examples(package):
    assert not without_example(package)


def test_a_wrong_example_is_noticed():
    module = type(doctest)("toy", "Two.\n\n>>> 1 + 1\n3\n")
    assert "Expected:\n    3\nGot:\n    2" in failures(module)
