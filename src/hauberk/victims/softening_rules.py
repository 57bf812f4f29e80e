"""The rules of softened gradients, one for each kind of operation: same value, smooth gradient."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.nn.grad import conv2d_input

SATURATED = 40.0
"""From where on a sigmoid is 1."""

CANCELLED = 1e-3
"""Share of the squares below which their sum less that of the mean is not accurate."""


class Surrogate(Function):
    """``value`` forward; backward, the gradient goes to ``x`` times ``slope``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, slope: Tensor | None) -> Tensor:
        ctx.slope = slope
        # Another tensor than the input, or autograd takes it for a view of it.
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return (grad if ctx.slope is None else grad * ctx.slope), None, None


class Rectified(Function):
    """ReLU forward, in place if asked; backward, a sigmoid in place of its step.

    What it keeps is as large as what a ReLU keeps: the sigmoid is computed on the way back.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float, in_place: bool) -> Tensor:
        ctx.save_for_backward(x / _width(x, tau))
        if in_place:
            ctx.mark_dirty(x)
            return x.clamp_(min=0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (scaled,) = ctx.saved_tensors
        # The derivative of softplus is a sigmoid, here times the gradient in one go.
        return torch.ops.aten.softplus_backward(grad, scaled, 1.0, SATURATED), None, None


class Convolved(Function):
    """A convolution with weights that need no gradient: the way back needs no input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.how = x.shape, how
        return torch.conv2d(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        back = conv2d_input(ctx.shape, weight, grad, *ctx.how)
        return back, None, None, None


class Scaled(Function):
    """Batch normalisation by running statistics: the way back is a factor for each channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(factor)
        return value(x)  # no view, or a ReLU could not overwrite it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (factor,) = ctx.saved_tensors
        return grad * factor, None, None


class Softmax(Function):
    """Softmax forward; backward, softmax at a temperature that does not saturate."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, value: Tensor, dim: int) -> Tensor:
        heat = (z.amax(dim, keepdim=True) - z.amin(dim, keepdim=True)).div(10).clamp_(min=1)
        ctx.dim = dim
        ctx.save_for_backward((z / heat).softmax(dim))
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (p,) = ctx.saved_tensors
        return p * (grad - (grad * p).sum(ctx.dim, keepdim=True)), None, None


OWN: tuple[Any, ...] = (Surrogate, Rectified, Convolved, Scaled, Softmax)
"""The functions of this module, whose backward is what it is."""


def surrogate(x: Tensor, value: Tensor, slope: Tensor | None = None) -> Tensor:
    """``value``, whose gradient in ``x`` is ``slope`` (all 1 if None)."""
    kept: Tensor = Surrogate.apply(x, value.detach(), slope)  # type: ignore[no-untyped-call]
    return kept


def _width(x: Tensor, tau: float) -> Tensor:
    """``tau`` standard deviations of each example's units, ``(B, 1, ...)``."""
    dims = tuple(range(1, x.dim())) if x.dim() > 1 else tuple(range(x.dim()))
    size = spread(x.detach(), dims).mul_(
        tau / max(1, x[:1].numel() if x.dim() > 1 else x.numel()) ** 0.5
    )
    width: Tensor = size.to(x.dtype).clamp_(min=torch.finfo(x.dtype).tiny ** 0.5)
    return width


def spread(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Norm of each example's units less their mean, ``(B, 1, ...)``; no std(), which is slow."""
    if not dims:
        return torch.zeros_like(x)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    mean = x.mean(dims, keepdim=True, dtype=wide)
    if x.device.type == "cpu":
        # Without the tensor of differences, unless the mean is nearly all there is.
        square = torch.linalg.vector_norm(x, dim=dims, keepdim=True, dtype=wide).square_()
        rest = square - mean.square() * (x[:1].numel() if x.dim() > 1 else x.numel())
        if bool((rest > CANCELLED * square).all()):
            return rest.sqrt_()  # type: ignore[no-any-return]
    away: Tensor = torch.linalg.vector_norm(x - mean, dim=dims, keepdim=True, dtype=wide)
    return away


def _on_graph(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad and x.is_floating_point()


def _between(x: Tensor, value: Tensor, lo: Any, hi: Any, tau: float) -> Tensor:
    """``value`` = x clipped to [lo, hi] (None: no bound), with smooth ends."""
    with torch.no_grad():
        width, slope = _width(x, tau), torch.ones_like(x)
        if lo is not None:
            slope = slope * ((x - lo) / width).sigmoid_()
        if hi is not None:
            slope = slope * ((hi - x) / width).sigmoid_()
    return surrogate(x, value, slope)


Rule = Callable[..., Any]


def _clip(lo: Any = None, hi: Any = None, in_place: bool = False) -> Rule:
    """ReLU, ReLU6 and others with fixed ends."""

    def rule(tau: float, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        if not _on_graph(x):
            return func(x, *args, **kwargs)
        overwrite = bool(in_place or kwargs.get("inplace") or (args[:1] == (True,)))
        if lo == 0 and hi is None:
            return Rectified.apply(x, tau, overwrite)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            value = x.clamp(lo, hi)
        soft = _between(x, value, lo, hi, tau)
        return x.copy_(soft) if overwrite else soft

    return rule


def _clamp(tau: float, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.clamp and hardtanh: bounds by place or by name."""
    if not _on_graph(x) or "out" in kwargs:
        return func(x, *args, **kwargs)
    names = ("min_val", "max_val") if func is F.hardtanh else ("min", "max")
    given = dict(zip(names, args, strict=False)) | {k: v for k, v in kwargs.items() if k in names}
    default = (-1.0, 1.0) if func is F.hardtanh else (None, None)
    lo, hi = (given.get(name, d) for name, d in zip(names, default, strict=True))
    with torch.no_grad():
        value = x.clamp(lo, hi)
    return _between(x, value, lo, hi, tau)


def _one_end(which: int) -> Rule:
    """clamp_min (0) and clamp_max (1)."""

    def rule(tau: float, func: Any, x: Any, bound: Any) -> Any:
        if not _on_graph(x):
            return func(x, bound)
        with torch.no_grad():
            value = func(x, bound)
        lo, hi = (bound, None) if which == 0 else (None, bound)
        return _between(x, value, lo, hi, tau)

    return rule


def _straight(tau: float, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Steps: the value of the function, the gradient of the identity."""
    if not _on_graph(x):
        return func(x, *args, **kwargs)
    with torch.no_grad():
        value = func(x, *args, **kwargs)
    return surrogate(x, value)


def _keep(tau: float, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """``detach``: stays on the graph, though a tensor of its own."""
    return x.view_as(x) if _on_graph(x) else func(x, *args, **kwargs)


def _leave(tau: float, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Out of torch: nothing can follow there."""
    return func(x.detach(), *args, **kwargs)


def _ignored(tau: float, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Gradient modes and hooks are left as they are."""
    return SimpleNamespace(remove=lambda: None)


def _squash(tau: float, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Sigmoid and tanh, with the slope at a temperature that keeps them from saturating."""
    if not _on_graph(x):
        return func(x, *args, **kwargs)
    with torch.no_grad():
        value = func(x, *args, **kwargs)
        p = (x / _width(x, 1.0).clamp_(min=1)).sigmoid()
        slope = p * (1 - p) * (4 if func in _TANH else 1)
    return surrogate(x, value, slope)


def _softmax(tau: float, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    dim = kwargs.get("dim", args[0] if args else None)
    if not _on_graph(x) or dim is None:
        return func(x, *args, **kwargs)
    with torch.no_grad():
        value = func(x, *args, **kwargs)
    return Softmax.apply(x, value, dim)  # type: ignore[no-untyped-call]


def _compare(up: int) -> Rule:
    """``a > b`` and the like, remembering by how much."""

    def rule(tau: float, func: Any, a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        truth = func(a, b, *args, **kwargs)
        if isinstance(truth, Tensor) and (_on_graph(a) or _on_graph(b)):
            gap = (a - b) if up > 0 else (b - a)
            with torch.no_grad():
                p = (gap / _width(gap, tau)).sigmoid()
                slope = p * (1 - p) / _width(gap, tau)
            truth._hauberk_gap = (gap, slope)  # type: ignore[attr-defined]
        return truth

    return rule


def _number(truth: Any, value: Tensor) -> Tensor:
    """``value`` = a comparison as numbers, on the graph if the comparison was."""
    gap = getattr(truth, "_hauberk_gap", None)
    if gap is None or not value.is_floating_point():
        return value
    return surrogate(gap[0].to(value.dtype), value, gap[1].to(value.dtype))


def _cast(tau: float, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """A comparison turned into numbers."""
    value = func(x, *args, **kwargs)
    return _number(x, value) if isinstance(value, Tensor) else value


def _times(tau: float, func: Any, a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
    """A product one factor of which is a comparison."""
    if isinstance(b, Tensor) and hasattr(b, "_hauberk_gap") and isinstance(a, Tensor):
        b = _number(b, b.to(a.dtype))
    elif isinstance(a, Tensor) and hasattr(a, "_hauberk_gap"):
        a = _number(a, a.to(b.dtype if isinstance(b, Tensor) else torch.get_default_dtype()))
    return func(a, b, *args, **kwargs)


def _choice(tau: float, func: Any, truth: Any, *args: Any, **kwargs: Any) -> Any:
    """``torch.where`` on a comparison."""
    value = func(truth, *args, **kwargs)
    if not hasattr(truth, "_hauberk_gap") or len(args) != 2 or kwargs:
        return value
    step = _number(truth, truth.to(value.dtype))
    # Adds nothing to the value; its gradient is the jump between the two, times the step's.
    with torch.no_grad():
        jump = (torch.as_tensor(args[0]) - torch.as_tensor(args[1])).to(value.dtype)
        jump = jump.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return value + jump * (step - step.detach().view_as(step)) if _on_graph(step) else value


def _frozen(*tensors: Any) -> bool:
    return not any(isinstance(t, Tensor) and t.requires_grad for t in tensors)


def _convolution(
    tau: float, func: Any, input: Any, weight: Any, bias: Any = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """The value and the gradient of the function; its input is not kept for the way back."""
    how = (stride, padding, dilation, groups)
    plain = _on_graph(input) and input.dim() == 4 and not isinstance(padding, str)
    if not plain or not _frozen(weight, bias):
        return func(input, weight, bias, *how)
    return Convolved.apply(input, weight, bias, how)  # type: ignore[no-untyped-call]


def _normalised(
    tau: float, func: Any, input: Any, running_mean: Any, running_var: Any, weight: Any = None,
    bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Batch normalisation, by running statistics without keeping its input for the way back."""
    names = ("running_mean", "running_var", "weight", "bias")
    given = (running_mean, running_var, weight, bias)
    if training or running_var is None or not _on_graph(input) or not _frozen(*given):
        return func(input, *given, training, momentum, eps)
    with torch.no_grad():
        factor = (running_var + eps).rsqrt()
        factor = factor if weight is None else factor * weight
        factor = factor.view(-1, *[1] * (input.dim() - 2)).to(input.dtype)
    value = partial(func, **dict(zip(names, given, strict=True)), eps=eps)
    return Scaled.apply(input, factor, value)  # type: ignore[no-untyped-call]


_T: Any = Tensor
_TANH = (torch.tanh, _T.tanh, F.tanh)
RULES: dict[Any, Rule] = {
    **dict.fromkeys((F.relu, torch.relu, _T.relu), _clip(0)),
    **dict.fromkeys((torch.relu_, _T.relu_), _clip(0, in_place=True)),
    F.relu6: _clip(0, 6),
    **dict.fromkeys((torch.clamp, _T.clamp, torch.clip, _T.clip, F.hardtanh), _clamp),
    **dict.fromkeys((torch.clamp_min, _T.clamp_min), _one_end(0)),
    **dict.fromkeys((torch.clamp_max, _T.clamp_max), _one_end(1)),
    **dict.fromkeys((torch.sign, torch.round, torch.floor, torch.ceil, torch.trunc), _straight),
    **dict.fromkeys((_T.sign, _T.round, _T.floor, _T.ceil, _T.trunc, torch.sgn), _straight),
    **dict.fromkeys((torch.detach, _T.detach, _T.data.__get__), _keep),
    **dict.fromkeys((_T.numpy, _T.__array__), _leave),
    **dict.fromkeys((torch._C._set_grad_enabled, _T.register_hook), _ignored),
    **dict.fromkeys((torch.sigmoid, _T.sigmoid, F.sigmoid, *_TANH), _squash),
    **dict.fromkeys((torch.softmax, _T.softmax, F.softmax), _softmax),
    **dict.fromkeys((torch.gt, _T.gt, _T.__gt__, torch.ge, _T.ge, _T.__ge__), _compare(1)),
    **dict.fromkeys((torch.lt, _T.lt, _T.__lt__, torch.le, _T.le, _T.__le__), _compare(-1)),
    **dict.fromkeys((_T.float, _T.double, _T.to, _T.type, _T.type_as), _cast),
    **dict.fromkeys((torch.mul, _T.mul, _T.__mul__, _T.__rmul__), _times),
    torch.where: _choice,
    torch.conv2d: _convolution,
    F.batch_norm: _normalised,
}


def as_function(func: Any) -> Any:
    """The function of torch that an operator of its library is, if a rule is for it.

    Exported graphs call such operators.

    Args:
        func: anything; returned as it is unless it is such an operator.
    """
    if isinstance(func, torch._ops.OpOverload):
        func, given = func.overloadpacket, func
    else:
        given = func
    if not isinstance(func, torch._ops.OpOverloadPacket) or not str(func).startswith("aten."):
        return given
    name = func.__name__
    # The arguments of batch_norm stand in another order.
    homes = (torch, F, _T) if name != "batch_norm" else ()
    found = (getattr(home, name, None) for home in homes)
    return next((each for each in found if each in RULES), given)
