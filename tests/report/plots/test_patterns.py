import pytest
import torch
from helpers.pictures import check_png, check_same, check_svg

from hauberk import InputError
from hauberk.report.plots import patterns as plots


def pattern(**given):
    return {
        "solver": "apgd", "loss": "ce", "distance": "l2", "features": 16,
        "sparsity": [1.0, 2.0, None], **given,
    }  # fmt: skip


DRAWN = {
    "sparsity": lambda p: plots.sparsity([pattern(), pattern(loss="margin", distance="l1")], p),
    "sparsity of nobody": lambda p: plots.sparsity([pattern(sparsity=[])], p, "nobody"),
    "grey": lambda p: plots.perturbations({"a": torch.randn(1, 6, 5), "b": torch.zeros(6, 5)}, p),
    "colour": lambda p: plots.perturbations({"a": torch.randn(3, 6, 5)}, p),
    "strip": lambda p: plots.perturbations({"a": torch.randn(7), "b": torch.randn(5, 3, 3)}, p),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_draws_a_small_png(tmp_path, name):
    check_png(DRAWN[name], tmp_path)


@pytest.mark.parametrize("name", ["sparsity", "colour"])
def test_draws_svg(tmp_path, name):
    check_svg(DRAWN[name], tmp_path)


def test_the_same_numbers_give_the_same_file(tmp_path):
    check_same(DRAWN["sparsity"], tmp_path)


def test_takes_objects_with_to_dict(tmp_path):
    class Described:
        def to_dict(self):
            return pattern()

    plain = plots.sparsity([pattern()], tmp_path / "plain.png").read_bytes()
    assert plots.sparsity([Described()], tmp_path / "other.png").read_bytes() == plain


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda p: plots.sparsity([], p / "a.png"), "nothing to draw"),
        (lambda p: plots.sparsity([pattern(), pattern()], p / "a.png"), "share solver"),
        (lambda p: plots.perturbations({}, p / "a.png"), "no perturbations"),
    ],
)
def test_refuses(tmp_path, draw, said):
    with pytest.raises(InputError, match=said):
        draw(tmp_path)
    assert not any(tmp_path.iterdir())
