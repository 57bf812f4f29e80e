"""The options of a threat: one grammar, written back, and refused in one line."""

import numpy as np
import pytest
import torch
from tests.helpers.oracles import refusal

import hauberk as hb
from hauberk.threats.notation import metric


@pytest.mark.parametrize(
    "text",
    [
        "linf:0.1,fixed=0;2", "linf:eps=0.1;0.2;0.3", "linf:0.5,eps=0.1;0.2;0.3", "l0:2,fixed=1",
        "l2:0.5,patch=2x3+0+1", "l1:3,patch=4x4@9", "l1.5:2,lo=0;0.5;0,hi=1",
        "linf:8/255,fixed=1,patch=2x2+0+0", "each(linf:0.1,fixed=0;2, l2:1,fixed=0)",
        "shared(linf:0.1,fixed=0)",
    ],
)  # fmt: skip
def test_a_notation_is_read_and_written_back(text):
    threat = hb.threat(text)
    assert str(threat) == text
    assert hb.threat(str(threat)) == threat
    assert threat.kind == text.partition(":")[0].partition("(")[0]


def test_files_keep_their_capitals_and_spaces(tmp_path):
    file = tmp_path / "My Mask.npy"
    np.save(file, np.array([1, 0, 1]))
    for text in (f"LINF: 0.1 , mask = {file}", f"each(linf:0.1,mask={file},l2:1)"):
        part = hb.threat(text).parts[0]
        assert part.fit.mask.value.tolist() == [1, 0, 1]
        assert str(part) == f"linf:0.1,mask={file}"
    union = hb.threat(f"linf:0.1,mask={file} | l2:1")
    assert [part.kind for part in union.parts] == ["linf", "l2"]
    assert str(metric(f"l2,mask={file}")) == f"l2,mask={file}"


def test_objects_say_the_same_as_text():
    assert hb.Linf(0.1, fixed="0;2") == hb.threat("linf:0.1,fixed=0;2")
    assert hb.L2(0.5, patch="2x2+0+0") == hb.threat("l2:0.5,patch=2x2+0+0")
    assert hb.Linf("0.1;0.2") == hb.threat("linf:eps=0.1;0.2")
    assert str(hb.Metric.of(hb.L1(3, fixed="1"))) == "l1,fixed=1"
    mask = torch.tensor([True, False])
    assert hb.Linf(0.1, mask=mask) == hb.Linf(0.1, mask=mask.numpy())
    assert hb.Linf(0.1, mask=mask) != hb.Linf(0.1, mask=~mask)
    assert hb.Linf(0.2, mask=mask).scaled(0.5) == hb.Linf(0.1, mask=mask)
    assert repr(hb.Linf(0.1, fixed="0")) == "threat('linf:0.1,fixed=0')"


def test_a_float_and_a_tensor_of_none_dimensions_are_a_size():
    assert hb.Linf(torch.tensor(0.5)) == hb.Linf(0.5)
    assert hb.Linf(np.float64(0.5)) == hb.Linf(0.5)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("linf:0.1,msk=a.npy", "is no option of a threat: give mask=FILE"),
        ("linf:0.1,mask", "is no option"),
        ("linf:0.1,fixed=0,fixed=1", "fixed is given twice"),
        ("linf:0.1,mask=none.npy", "there is no file none.npy"),
        ("linf:fixed=0", "has no size"),
        ("l0:2,eps=0.1;0.2", "l0 counts features"),
        ("linf:0.1,patch=3", "is no patch: write 8x8+3+4"),
        ("l2:0.1,eps=a;b", "there is no file a;b"),
    ],
)
def test_what_is_no_option_is_refused_in_one_line(text, what):
    assert what in refusal(hb.threat, text)


def test_arrays_must_go_with_the_inputs():
    x = torch.full((2, 3, 4, 4), 0.5)
    assert "which does not go with inputs (3, 4, 4)" in refusal(hb.Linf(0.1, mask=[1, 0]).at, x)
    assert "give (3, 4, 4), one number a channel, or (N, 3, 4, 4)" in refusal(
        hb.Linf([0.1, 0.2]).at, x
    )
    assert "no feature may change" in refusal(hb.Linf(0.1, mask=[0, 0, 0]).at, x)
    assert "below 0" in refusal(hb.Linf([0.1, -0.1, 0.1]).at, x)
    assert "features 0 to 2" in refusal(hb.Linf(0.1, fixed=[3]).at, x)
    with pytest.raises(hb.InputError, match="no option 'msk'"):
        hb.Linf(0.1, msk=[1])


def test_one_number_a_channel():
    x = torch.full((1, 3, 2, 2), 0.5)
    moved = hb.Linf([0.1, 0.2, 0.0]).project(x, x + 1) - x
    torch.testing.assert_close(moved[0, :, 0, 0], torch.tensor([0.1, 0.2, 0.0]))
    moved = hb.Linf(0.1, fixed=[1]).project(x, x + 1) - x
    assert moved[0, 1].eq(0).all()
    assert moved[0, 0].ne(0).all()


def test_threats_that_move_through_several_refuse_them():
    ball = hb.Linf(0.1, fixed="0")
    x = torch.full((1, 3), 0.5)
    assert "leave out masks" in refusal(hb.Affine, ball, "l1:1")
    assert "attack its parts one by one" in refusal(hb.threats.Whole(ball | hb.L2(1)).at, x)
