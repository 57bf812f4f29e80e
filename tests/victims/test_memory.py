"""Which errors say that memory ran out, how much is free, and how far it grows."""

import sys

import pytest
import torch

from hauberk.errors import InputError
from hauberk.victims.memory import (
    Growth,
    free_memory,
    free_on_host,
    give_back,
    halved,
    out_of_memory,
    resident_memory,
)

RAN_OUT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't "
                 "allocate memory: you tried to allocate 40 bytes. Error code 12"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 40 bytes."),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
    MemoryError("Unable to allocate 3 GiB for an array"),
    RuntimeError("std::bad_alloc"),
]  # fmt: skip
OTHER = [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory")]


@pytest.mark.parametrize("error", RAN_OUT)
def test_errors_that_say_so_halve_the_batch(error):
    assert out_of_memory(error)
    assert [halved(error, size) for size in (64, 7, 2)] == [32, 3, 1]
    with pytest.raises(InputError, match="a single example at a time") as refused:
        halved(error, 1)
    assert refused.value.__cause__ is error


@pytest.mark.parametrize("error", OTHER)
def test_other_errors_are_raised_again(error):
    assert not out_of_memory(error)
    with pytest.raises(type(error)) as raised:
        halved(error, 8)
    assert raised.value is error


def host(tmp_path, files):
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return free_on_host(tmp_path)


MEMINFO = "MemTotal: 100 kB\nMemFree: 20 kB\nMemAvailable: 50 kB\n"
NEW = {"proc/self/cgroup": "0::/user/job\n", "sys/fs/cgroup/user/job/memory.current": "9000\n"}
OLD = "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"proc/meminfo": MEMINFO}, 51200),
        (NEW | {"sys/fs/cgroup/user/job/memory.max": "10000\n"}, 1000),
        (NEW | {"sys/fs/cgroup/user/job/memory.max": "max\n", "proc/meminfo": MEMINFO}, 51200),
        (
            NEW | {
                "sys/fs/cgroup/user/job/memory.max": "10000",
                "sys/fs/cgroup/user/job/memory.stat": "anon 1\ninactive_file 700\n",
            },
            1700,
        ),
        (  # the group around it leaves less
            NEW | {
                "sys/fs/cgroup/user/job/memory.max": "10000",
                "sys/fs/cgroup/user/memory.max": "9500",
                "sys/fs/cgroup/user/memory.current": "9400",
            },
            100,
        ),
        (  # a container sees its own group at the top
            {
                "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4000",
                "sys/fs/cgroup/memory.current": "1000", "proc/meminfo": MEMINFO,
            },
            3000,
        ),
        (  # the older groups
            {
                "proc/self/cgroup": "5:cpu:/\n4:memory:/docker/a\n0::/\n",
                f"{OLD}/docker/a/memory.limit_in_bytes": "8000",
                f"{OLD}/docker/a/memory.usage_in_bytes": "7500",
                f"{OLD}/memory.limit_in_bytes": "9223372036854771712",
                f"{OLD}/memory.usage_in_bytes": "100",
            },
            500,
        ),
        (NEW | {"sys/fs/cgroup/user/job/memory.max": "8000"}, 0),
    ],
)  # fmt: skip
def test_free_memory_is_what_the_machine_and_every_group_leave(tmp_path, files, free):
    assert host(tmp_path, files) == free


def test_free_memory_by_device():
    free = free_memory(torch.device("cpu"))
    assert free is None or free > 0
    assert free_memory(torch.device("mps")) is None


def test_growth_is_the_most_in_between():
    readings = iter([100, 100, 900, 300, *[200] * 10**6])
    with Growth(lambda: next(readings)) as growth:
        while next(readings) != 200:
            pass
    assert growth.bytes >= 0
    with Growth(lambda: None) as growth:
        pass
    assert growth.bytes is None


def test_growth_sees_what_was_freed_again():
    with Growth() as growth:
        held = torch.ones(2**24)  # 64 MiB
        for _ in range(20):
            held.mul_(1.0)
        del held
    assert growth.bytes is None or 2**25 < growth.bytes < 2**28


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_freed_memory_goes_back_to_the_system():
    held = [bytearray(2**16) for _ in range(2**10)]  # 64 MiB in pieces that glibc keeps
    last = bytearray(2**16)
    before = resident_memory()
    del held
    give_back()
    assert before - resident_memory() > 2**25
    assert len(last) == 2**16
