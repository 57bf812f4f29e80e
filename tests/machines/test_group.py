"""Processes that share a run; here they are threads, which share no more than they do."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import TCPStore

from hauberk.errors import InputError, ProcessError
from hauberk.machines.group import Group, together


def groups(world):
    """The same group as each of its processes sees it."""
    first = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    others = [
        TCPStore("127.0.0.1", first.port, wait_for_workers=False, timeout=timedelta(seconds=9))
        for _ in range(world - 1)
    ]
    return [Group(rank, world, words) for rank, words in enumerate([first, *others])]


def in_each(world, work):
    """What ``work`` returns, or raises, in every process of a group."""

    def guarded(group):
        try:
            with group.run():
                return work(group)
        except Exception as error:  # noqa: BLE001  # it is what is looked at
            return error

    every = groups(world)  # the store lives as long as they do
    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(guarded, every))


def test_one_alone_does_everything_and_waits_for_nobody():
    group = together(1)
    assert group.is_alone
    assert list(group.deal("abc")) == ["a", "b", "c"]
    with group.run():
        group.say("x", 1)
        group.after_first("y")
        assert group.gather("z", 3) == [3]
        group.part()


def test_every_item_goes_to_one_process_and_the_slow_get_fewer():
    def work(group):
        mine = []
        for item in group.deal(range(20)):
            time.sleep(0.1 if group.rank == 0 else 0.001)
            mine.append(item)
        return mine

    dealt = in_each(3, work)
    assert sorted(item for mine in dealt for item in mine) == list(range(20))
    assert len(dealt[0]) < len(dealt[1])


def test_runs_of_one_group_are_kept_apart():
    def work(group):
        with group.run():
            first = len(list(group.deal("ab")))
            group.gather("done", None)
        with group.run():
            return first + len(list(group.deal("cd")))

    assert sum(in_each(2, work)) == 4


def test_what_one_says_the_others_hear():
    def work(group):
        if group.is_first:
            time.sleep(0.1)
            group.say("word", {"a": [1, None]})
        heard = group.hear("word")
        values = group.gather("all", group.rank)
        group.part()
        return heard, values

    found = in_each(3, work)
    assert [heard for heard, _ in found] == [{"a": [1, None]}] * 3
    assert found[0][1] == [0, 1, 2]


def test_others_wait_for_the_first():
    def work(group):
        if group.is_first:
            time.sleep(0.2)
        begun = time.monotonic()
        group.after_first("begun")
        return time.monotonic() - begun

    assert in_each(2, work)[1] > 0.1


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_ends_all(rank):
    def work(group):
        if group.rank == rank:
            raise InputError("the disk is full")
        group.hear("what is never said")

    found = in_each(2, work)
    assert isinstance(found[rank], InputError)
    assert isinstance(found[1 - rank], ProcessError)
    assert f"process {rank} of 2 stopped: the disk is full" in str(found[1 - rank])


def test_a_missing_number_of_processes_says_how_to_begin_them():
    with pytest.raises(InputError, match=r"6 processes are wanted but 1 run.*--nproc-per-node=3"):
        together(3, 2)
