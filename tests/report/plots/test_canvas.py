import subprocess
import sys

import pytest

from hauberk import InputError
from hauberk.report.plots.canvas import COLOURS, LINES, canvas, label, save, style


def test_no_global_state():
    """Neither pyplot nor a changed setting is left behind, and importing draws nothing in."""
    script = (
        "import sys, tempfile, hauberk.report.plots.radii as p\n"
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


def test_colours_come_again_with_other_lines():
    pairs = [style(place) for place in range(len(COLOURS) * len(LINES))]
    assert len(set(pairs)) == len(pairs)


def test_names_are_drawn_as_they_are(tmp_path):
    """Neither read as formulas nor left out of the legend."""
    figure, ((axes,),) = canvas(1, 1, (4.0, 3.0))
    for name in ("$a_b$", "_private"):
        axes.plot([0, 1], label=label(name))
    assert [text.get_text().strip() for text in axes.legend().get_texts()] == [
        r"\$a_b\$", "_private",
    ]  # fmt: skip
    assert save(figure, tmp_path / "a.png", "title").exists()
    assert figure.get_suptitle() == "title"


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="nothing to draw"):
        canvas(0, 1, (1.0, 1.0))
