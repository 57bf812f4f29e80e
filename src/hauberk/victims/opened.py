"""Compiled and checkpointed parts of a model run openly, so that what they do can be seen.

A compiled part hides its operations from softened gradients; one behind ``torch.utils.checkpoint``
computes them again on the way back, where nothing softens them. Checkpoints of the reentrant kind
refuse gradients of the input alone altogether.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

_lock = threading.Lock()
_users = 0
_kept: dict[str, Any] = {}
_here = threading.local()

SEEN = "seen"
"""What checkpoints do inside :func:`opened`: nothing, their part is computed once."""
AGAIN = "again"
"""What they do inside :func:`without_reentry`: they compute their part again, in the other way."""


@contextmanager
def opened() -> Iterator[None]:
    """No compiled part and no checkpoint within the block, in this thread."""
    with _uncompiled(), _checkpoints(SEEN):
        yield


@contextmanager
def without_reentry() -> Iterator[None]:
    """Checkpoints of the reentrant kind allow gradients of the input alone within the block."""
    with _checkpoints(AGAIN):
        yield


def _uncompiled() -> AbstractContextManager[Any]:
    """Whatever ``torch.compile`` made runs as it was written."""
    stance = getattr(torch.compiler, "set_stance", None)
    # Whoever compiles has loaded the compiler; loading it takes seconds.
    if stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    found: AbstractContextManager[Any] = stance("force_eager")
    return found


@contextmanager
def _checkpoints(mode: str) -> Iterator[None]:
    before = getattr(_here, "mode", None)
    _patch()
    _here.mode = SEEN if before == SEEN else mode
    try:
        yield
    finally:
        _here.mode = before
        _restore()


class _Function:
    """Stands in for the autograd function of reentrant checkpoints."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        mode = getattr(_here, "mode", None)
        if mode == SEEN:
            return function(*args)
        if mode == AGAIN:
            from torch.utils import checkpoint as module

            return module.checkpoint(
                function, *args, use_reentrant=False, preserve_rng_state=preserve
            )
        return _kept["CheckpointFunction"].apply(function, preserve, *args)


def _generator(*args: Any, **kwargs: Any) -> Any:
    """Stands in for what wraps the parts of other checkpoints."""
    if getattr(_here, "mode", None) == SEEN:
        return _nothing()
    return _kept["_checkpoint_without_reentrant_generator"](*args, **kwargs)


def _nothing() -> Iterator[None]:
    yield


_STANDINS: dict[str, Any] = {
    "CheckpointFunction": _Function,
    "_checkpoint_without_reentrant_generator": _generator,
}


def _patch() -> None:
    """Put the stand-ins in place, the whole process's; they look at their own thread."""
    global _users
    module = sys.modules.get("torch.utils.checkpoint")
    with _lock:
        if not _users and module is not None:
            for name, standin in _STANDINS.items():
                if hasattr(module, name):
                    _kept[name] = getattr(module, name)
                    setattr(module, name, standin)
        _users += 1


def _restore() -> None:
    global _users
    module = sys.modules.get("torch.utils.checkpoint")
    with _lock:
        _users -= 1
        if not _users and module is not None:
            for name, value in _kept.items():
                setattr(module, name, value)
            _kept.clear()
