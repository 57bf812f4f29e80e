import subprocess
import sys

import numpy as np
import pytest
import torch

from hauberk import InputError
from hauberk.report.plots import patterns as plots


def pattern(**given):
    return {
        "solver": "apgd", "loss": "ce", "distance": "l2", "features": 16,
        "sparsity": [1.0, 2.0, None], **given,
    }  # fmt: skip


CURVES = {"eps": [0.0, 1.0, 2.0], "accuracy": {"a": [1.0, 0.5, 0.0], "b": [0.9, 0.6, None]}}
NOBODY = {"eps": [0.0], "accuracy": {"a": [None]}}
DRAWN = {
    "histogram": lambda p: plots.histogram([1, 2, 2.5], p, "title", line=2),
    "histogram of nothing": lambda p: plots.histogram([], p),
    "histogram of NaN": lambda p: plots.histogram(torch.tensor([torch.nan, 1]), p),
    "histogram of one value": lambda p: plots.histogram(torch.full((9,), 1e6), p),
    "histogram of neighbours": lambda p: plots.histogram(np.array([1.0, 1 + 1e-15]), p),
    "sparsity": lambda p: plots.sparsity([pattern(), pattern(loss="margin", distance="l1")], p),
    "sparsity of nobody": lambda p: plots.sparsity([pattern(sparsity=[])], p, "nobody"),
    "grey": lambda p: plots.perturbations({"a": torch.randn(1, 6, 5), "b": torch.zeros(6, 5)}, p),
    "colour": lambda p: plots.perturbations({"a": torch.randn(3, 6, 5)}, p),
    "strip": lambda p: plots.perturbations({"a": torch.randn(7), "b": torch.randn(5, 3, 3)}, p),
    "radii": lambda p: plots.radii({"l1": [1, 2], "l2": torch.rand(4)}, p, {"l1": 1.5}),
    "radii, one line": lambda p: plots.radii({"l1": [1, 2]}, p, 0.5, "title"),
    "curves": lambda p: plots.accuracy_curves(CURVES, p, [{"eps": 1.0}], unit="l2"),
    "curves of nobody": lambda p: plots.accuracy_curves(NOBODY, p),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_draws_a_small_png(tmp_path, name):
    path = tmp_path / "new" / "figure.png"
    assert DRAWN[name](path) == path
    head = path.read_bytes()
    assert head.startswith(b"\x89PNG")
    assert len(head) < 200_000


@pytest.mark.parametrize("name", ["histogram", "sparsity", "colour", "radii", "curves"])
def test_draws_svg(tmp_path, name):
    text = DRAWN[name](tmp_path / "figure.SVG").read_text()
    assert "<svg" in text
    assert "<dc:date>" not in text


def test_the_same_numbers_give_the_same_file(tmp_path):
    one, other = (DRAWN["curves"](tmp_path / f"{n}.png").read_bytes() for n in (1, 2))
    assert one == other


def test_takes_objects_that_tell_themselves(tmp_path):
    class Response:
        def to_dict(self):
            return pattern()

    plain = plots.sparsity([pattern()], tmp_path / "plain.png").read_bytes()
    assert plots.sparsity([Response()], tmp_path / "told.png").read_bytes() == plain


def test_counts_are_drawn(tmp_path):
    """A bar of other height is another picture; NaN beside the numbers is not."""
    one = plots.histogram([1.0, 2.0, 2.0], tmp_path / "a.png").read_bytes()
    assert plots.histogram([1.0, None, 2.0, 2.0], tmp_path / "b.png").read_bytes() == one
    assert plots.histogram([1.0, 2.0], tmp_path / "c.png").read_bytes() != one


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda p: plots.histogram([1], p / "a.jpg"), "ends in .png or .svg"),
        (lambda p: plots.sparsity([], p / "a.png"), "nothing to draw"),
        (lambda p: plots.sparsity([pattern(), pattern()], p / "a.png"), "share solver"),
        (lambda p: plots.perturbations({}, p / "a.png"), "no perturbations"),
        (lambda p: plots.radii({}, p / "a.png"), "no radii"),
    ],
)
def test_refuses(tmp_path, draw, said):
    with pytest.raises(InputError, match=said):
        draw(tmp_path)
    assert not any(tmp_path.iterdir())


def test_no_global_state():
    """Neither pyplot nor a changed setting is left behind, and importing draws nothing in."""
    script = (
        "import sys, tempfile, hauberk.report.plots.patterns as p\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import matplotlib as m\n"
        "def settings():\n"
        # Reading the backend chooses one.
        "    return {k: v for k in m.rcParams if k != 'backend' for v in [m.rcParams[k]]}\n"
        "before = settings()\n"
        "p.radii({'a': [1, 2]}, tempfile.mkdtemp() + '/a.png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert settings() == before\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
