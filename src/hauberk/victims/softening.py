"""A backward pass that sees through kinks, steps and tricks; the forward pass stays what it is.

A network can hide from gradients without being robust: dead or saturated units, rounding,
thresholds, detached tensors, a backward of its own. Inside ``with Softened(tau):`` the model
computes what it always does, to the bit, but its gradient is that of a smoothed stand-in. This is
the backward pass differentiable approximation of Athalye, Carlini & Wagner 2018, applied to the
operations of the model one by one, so that it needs no knowledge of the defence.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from hauberk.victims.opened import opened
from hauberk.victims.softening_rules import OWN, RULES, as_function

# Function.apply ends in its parent's: patched there, methods bound earlier are caught as well.
_parent: Any = Function.__mro__[1]
_lock = threading.Lock()
_installed = 0
_here = threading.local()


class Softened(TorchFunctionMode):
    """Smooth gradients for all that runs inside the block.

    * ReLU, clamp and the like: a sigmoid in place of the step, its width ``tau`` times the
      standard deviation of the unit's layer on the example;
    * sigmoid, tanh, softmax: not saturated, by a temperature;
    * sign, round, floor and the like, ``detach``, ``no_grad``: the identity;
    * comparisons whose outcome is used as a number: a sigmoid;
    * custom autograd functions: their forward is differentiated, their backward ignored; gradient
      hooks are not set.

    Compiled and checkpointed parts run openly (:func:`hauberk.victims.opened.opened`). Scripted
    modules and kernels outside torch are not seen. Other threads are not affected.
    """

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau

    def __enter__(self) -> Self:
        self._parts = ExitStack()
        self._parts.enter_context(opened())
        super().__enter__()  # type: ignore[no-untyped-call]
        _install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _uninstall()
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._parts.close()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        func = as_function(func)
        rule = RULES.get(func)
        if rule is None:
            return func(*args, **(kwargs or {}))
        return rule(self.tau, func, *args, **(kwargs or {}))


@contextmanager
def unhooked(model: Any) -> Iterator[None]:
    """Modules without their backward hooks for the time of the block."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    names = ("_backward_hooks", "_backward_pre_hooks")
    kept = [(m, name, getattr(m, name)) for m in modules for name in names if getattr(m, name)]
    for module, name, hooks in kept:
        setattr(module, name, type(hooks)())
    try:
        yield
    finally:
        for module, name, hooks in kept:
            setattr(module, name, hooks)


def _install() -> None:
    """Catch custom functions in this thread; the patch itself is the whole process's."""
    global _installed
    with _lock:
        if not _installed:
            _parent.apply = classmethod(_through)
        _installed += 1
    _here.depth = getattr(_here, "depth", 0) + 1


def _uninstall() -> None:
    global _installed
    _here.depth -= 1
    with _lock:
        _installed -= 1
        if not _installed:
            del _parent.apply


def _through(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a custom function's forward under autograd, as if it had no backward."""
    plain = super(_parent, cls).apply
    if not getattr(_here, "depth", 0):
        return plain(*args, **kwargs)
    if cls in OWN or not torch.is_grad_enabled():
        return plain(*args, **kwargs)
    own_context = cls.setup_context is not Function.setup_context
    try:
        return cls.forward(*args) if own_context else cls.forward(_Context(), *args)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return plain(*args, **kwargs)


class _Context(SimpleNamespace):
    """Stands in for the context that a custom forward saves tensors in."""

    needs_input_grad = (True,) * 64

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def mark_dirty(self, *_: Any) -> None: ...
    def mark_non_differentiable(self, *_: Any) -> None: ...
    def set_materialize_grads(self, *_: Any) -> None: ...
