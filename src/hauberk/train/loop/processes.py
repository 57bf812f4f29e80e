"""Device, precision and processes of a training, on lightning-fabric.

Every process holds a share of each global minibatch. Gradients, running statistics and losses are
averaged by one sum over the processes after the backward pass, weighted by their counts, so that
several processes train as one would.
"""

import hashlib
import inspect
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.machines.devices import AUTO, fastest
from hauberk.machines.launch import is_begun
from hauberk.train.loop.victim import TrainVictim


class Processes:
    """The processes that train together; one alone unless torchrun began them.

    Args:
        device: Where to train; None for the model's own device, ``auto`` for the fastest.
        devices: Processes on each machine.
        nodes: Machines.
        precision: ``32-true`` or ``bf16-mixed``.
        home: The device of the model.

    Attributes:
        rank: Number of this process, from 0.
        world: How many there are.
        device: Where this process computes.
    """

    def __init__(
        self, device: str | torch.device | None, devices: int, nodes: int, precision: str,
        home: torch.device,
    ) -> None:  # fmt: skip
        world = _world(devices, nodes)
        from lightning_fabric import Fabric

        if device == AUTO:
            device = fastest(world // nodes) if home.type == "cpu" else home
        wanted = home if device is None else _device(device)
        if world == 1:
            on = [wanted.index or 0] if wanted.type == "cuda" else 1
            self.fabric: Any = Fabric(accelerator=wanted.type, devices=on, precision=precision)  # type: ignore[arg-type]
        else:
            from lightning_fabric.strategies.ddp import DDPStrategy

            # Its own averaging is kept off: it cannot take uneven shares, a second forward pass
            # or a process without examples. Nor may a forward pass wait for other processes.
            parameters = inspect.signature(nn.parallel.DistributedDataParallel).parameters
            newer = "forward_sync_buffers" in parameters
            quiet: Any = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
            self.fabric = Fabric(
                accelerator=wanted.type, devices=world // nodes, num_nodes=nodes,
                precision=precision, strategy=DDPStrategy(**quiet),  # type: ignore[arg-type]
            )  # fmt: skip
        self.fabric.launch()
        self.rank, self.world = int(self.fabric.global_rank), int(self.fabric.world_size)
        self.device: torch.device = self.fabric.device
        self.half = precision == "bf16-mixed"

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of a global minibatch; may be empty."""
        return self.shares(rows)[self.rank]

    def shares(self, rows: Tensor) -> list[Tensor]:
        """The parts of all processes, the largest first.

        None is of one example if there are two, for batch normalisation has no statistics of one:
        rather are some empty.
        """
        busy = max(1, min(self.world, len(rows) // 2))
        return [*rows.tensor_split(busy), *[rows[:0]] * (self.world - busy)]

    def apart(self, wrapped: nn.Module) -> AbstractContextManager[Any]:
        """For the forward and backward passes: gradients stay those of this process."""
        if self.world == 1:
            return nullcontext()
        found: AbstractContextManager[Any] = self.fabric.no_backward_sync(wrapped)
        return found

    def average(self, model: nn.Module, loss: Tensor, weight: float) -> Tensor:
        """Gradients, floating buffers and loss as weighted means over the processes."""
        if self.world == 1:
            return loss
        trained = [p for p in model.parameters() if p.requires_grad]
        buffers = [b for b in model.buffers() if b.is_floating_point()]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        parts = [t.detach() for t in (*grads, *buffers, loss)]
        dtype = max((t.dtype for t in parts), key=lambda d: torch.finfo(d).bits)
        # A process without examples may hold NaN in them: it has nothing to say.
        flat = torch.cat([t.reshape(-1).to(dtype) for t in parts])
        flat = flat * weight if weight else torch.zeros_like(flat)
        torch.distributed.all_reduce(flat)
        done = list(flat.split([t.numel() for t in parts]))
        for p, mean in zip(trained, done, strict=False):
            p.grad = mean.view_as(p).to(p.dtype)
        for buffer, mean in zip(buffers, done[len(trained) :], strict=False):
            buffer.copy_(mean.view_as(buffer))
        mean_loss: Tensor = done[-1].view(()).to(loss.dtype)
        return mean_loss

    def spread(self, tables: dict[str, Tensor], rows: Tensor) -> None:
        """Give every process the rows of a strategy's tables that the others wrote."""
        if self.world == 1 or not tables:
            return
        shares = self.shares(rows)
        for table in tables.values():
            mine = table[shares[self.rank].to(table.device)]
            mine = mine.to(torch.uint8) if table.dtype == torch.bool else mine
            sent = mine.new_zeros(len(shares[0]), *mine.shape[1:])
            sent[: len(mine)] = mine
            got = [torch.empty_like(sent) for _ in shares]
            torch.distributed.all_gather(got, sent)
            for part, ids in zip(got, shares, strict=True):
                table[ids.to(table.device)] = part[: len(ids)].to(table.dtype)

    def gather(self, value: Any) -> list[Any]:
        """A plain value of each process, in order."""
        if self.world == 1:
            return [value]
        got: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(got, value)
        return got

    def from_first(self, value: Any) -> Any:
        """The value that the first process holds; an exception there is raised everywhere."""
        if self.world > 1:
            value = self.fabric.broadcast(value)
        if isinstance(value, Exception):
            raise value
        return value

    def victim(self, model: nn.Module, mode: str) -> TrainVictim:
        """The bare model for attacks, in the precision of the training."""
        victim = TrainVictim(model, autocast=self.device.type if self.half else None)
        victim.mode = mode
        return victim

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """Leave torch's global random numbers as they were."""
        on = [self.device.index or 0] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=on):
            yield


def seed_step(seed: int, step: int, rank: int) -> None:
    """Random numbers of the model itself (dropout) depend on seed, step and process alone."""
    digest = hashlib.blake2b(f"{seed} {step} {rank}".encode(), digest_size=7).digest()
    torch.manual_seed(int.from_bytes(digest, "little"))


def _device(name: str | torch.device) -> torch.device:
    try:
        wanted = torch.device(name)
    except (RuntimeError, TypeError):
        wanted = torch.device("meta")
    if wanted.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"unknown device {str(name)!r}: choose auto, cpu, cuda, cuda:1 or mps")
    there = {"cpu": True, "cuda": torch.cuda.device_count() > (wanted.index or 0)}
    if not there.get(wanted.type, torch.backends.mps.is_available()):
        raise InputError(f"there is no device {str(name)!r} here: choose device='cpu'")
    return wanted


def _world(devices: int, nodes: int) -> int:
    there = is_begun() and torch.distributed.is_available()
    world = int(os.environ.get("WORLD_SIZE", 1)) if there else 1
    if devices * nodes not in (1, world):
        raise InputError(
            f"{devices * nodes} processes are wanted but {world} run: start the script with "
            f"torchrun --nproc-per-node={devices}" + (f" --nnodes={nodes}" if nodes > 1 else "")
        )
    return world
