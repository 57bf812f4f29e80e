"""What the trainer sees of a strategy: its passes through the model, and the loss it returns."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.errors import InputError
from hauberk.train.strategies.base import Loss
from hauberk.victims.outputs import as_logits

ONE_EXAMPLE = "Expected more than 1 value per channel"
"""How torch's normalisation layers refuse a batch of one."""

RESERVED = ("epoch", "step", "loss", "learning_rate", "forwards", "backwards")
"""Names of an epoch's record that no log may have, as none may begin with one of ``PREFIXES``."""

PREFIXES = ("valid_", "seconds_")


class PassCounter:
    """Counts the examples that go through the model a strategy is given, whose logits it gets.

    Whatever else the model returns (:func:`hauberk.victims.outputs.as_logits`) is left out.

    Args:
        model: Its passes are counted.

    Attributes:
        forwards: Examples so far.
        backwards: Those of them with the gradient on, which a loss is differentiated through.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> passes = PassCounter(layer)
        >>> _ = layer(torch.rand(3, 2))
        >>> passes.forwards, passes.backwards
        (3, 3)
    """

    def __init__(self, model: nn.Module) -> None:
        self.forwards = self.backwards = 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)
        model.register_forward_hook(_logits, with_kwargs=True)

    def clear(self) -> None:
        """Begin a batch."""
        self.forwards = self.backwards = 0

    def _count(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = (a for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and a.dim())
        many = next(map(len, inputs), 0)
        self.forwards += many
        self.backwards += many if torch.is_grad_enabled() else 0


def _logits(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
    """The logits in what a model returned, None if that is them."""
    if isinstance(out, Tensor) and out.dim() == 2 and out.shape[1] > 1:
        return None
    inputs = (a for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and a.dim())
    return as_logits(out, next(map(len, inputs), 0)).values


def require_loss(found: object, who: str) -> Loss:
    """What ``Strategy.loss`` returned, if it can be trained on.

    Raises:
        InputError: saying what to return.
    """
    what = f"{who}.loss must return hauberk.train.Loss(value)"
    if not isinstance(found, Loss):
        raise InputError(f"{what}, not a {type(found).__name__}: wrap the scalar loss in it")
    value = found.value
    if not isinstance(value, Tensor):
        raise InputError(f"{what} with a tensor, not a {type(value).__name__}: do not call .item()")
    if value.dim() or not value.is_floating_point():
        raise InputError(
            f"{what} with one real number, not {value.dtype} of shape {tuple(value.shape)}: take "
            "the mean over the examples"
        )
    if not value.requires_grad:
        raise InputError(
            f"{what} on the graph of the model's parameters: compute it from batch.model(x), "
            "without detach() or no_grad()"
        )
    if not isinstance(found.logs, Mapping):
        raise InputError(f"the logs of {who}.loss are a {type(found.logs).__name__}: give a dict")
    for name, log in found.logs.items():
        _require_log(name, log, who)
    return found


def _require_log(name: object, log: object, who: str) -> None:
    if not isinstance(name, str) or name in RESERVED or name.startswith(PREFIXES):
        raise InputError(
            f"{who}.loss logs {name!r}, which the history keeps for itself: give the log another "
            f"name, none of {', '.join(RESERVED)} nor beginning with {' or '.join(PREFIXES)}"
        )
    plain = isinstance(log, int | float) or (isinstance(log, Tensor) and not log.dim())
    if not plain or (isinstance(log, Tensor) and log.is_complex()):
        shape = f" of shape {tuple(log.shape)}" if isinstance(log, Tensor) else ""
        raise InputError(
            f"{who}.loss logs {name!r} as a {type(log).__name__}{shape}: give one number"
        )


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether none of them holds NaN or infinity; waits for the device."""
    flags = [tensor.isfinite().all() for tensor in tensors]
    return not flags or bool(torch.stack(flags).all())
