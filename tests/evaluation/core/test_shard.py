"""Which blocks are whose."""

import pytest

from hauberk.errors import InputError
from hauberk.evaluation.core.shard import Shard


def test_shards_share_all_blocks_out_once_and_evenly():
    for many in range(1, 6):
        shares = [list(Shard(k, many).blocks(7)) for k in range(1, many + 1)]
        assert sorted(number for share in shares for number in share) == list(range(7))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_text_pairs_and_none_are_read():
    assert Shard.of("2/3") == Shard.of((2, 3)) == Shard.of([2, 3]) == Shard(2, 3)
    assert not Shard.of(None)
    assert not Shard.of("1/1")
    assert Shard.of("1/1").facts() == {}
    assert Shard.of("2/3").facts() == {"shard": [2, 3]}
    assert str(Shard(2, 3)) == "2/3"


@pytest.mark.parametrize("given", ["0/3", "4/3", (0, 2), "-1/2"])
def test_numbers_count_from_one(given):
    with pytest.raises(InputError, match=r"give 1/\d to \d/\d"):
        Shard.of(given)


@pytest.mark.parametrize("given", ["2", "a/b", "1/2/3", (1, 2, 3), (1.5, 2), "1/0"])
def test_what_is_no_share_is_refused(given):
    with pytest.raises(InputError, match="shard is"):
        Shard.of(given)
