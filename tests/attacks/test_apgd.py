"""Auto-PGD: the checkpoints of the paper."""

from hauberk.attacks.apgd import checkpoints


def test_apgd_checkpoints_are_those_of_the_paper():
    """Croce & Hein 2020, section 3.2: p_1 = 0.22, then shorter by 0.03 down to 0.06."""
    at = checkpoints(100).nonzero()[0].tolist()
    assert at == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(100)[at].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    for steps in range(1, 30):
        window = checkpoints(steps)
        assert window.sum() == window.nonzero()[0].max()
