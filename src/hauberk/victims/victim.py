"""The model under attack: the one place for its mode, dtype, device, chunking and counting."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from time import monotonic
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase as _Norm

from hauberk.errors import InputError, warn
from hauberk.maths.losses import margin, soft_margin, wrong
from hauberk.maths.modules import eval_mode, exact_batch, in_batches
from hauberk.victims.goals import Goal
from hauberk.victims.memory import MEMORY_ERRORS, free_memory, halved, out_of_memory
from hauberk.victims.opened import without_reentry
from hauberk.victims.outputs import as_logits
from hauberk.victims.softening import Softened, unhooked

LOOK_EVERY = 1.0
"""Seconds between two looks at the free memory."""

SCARCE = 0.25
"""Memory is scarce if so little of what a batch takes is free."""

log = logging.getLogger("hauberk")

LOOK_EVERY = 1.0
"""Seconds between two looks at the free memory."""

SCARCE = 0.25
"""Memory is scarce if so little of what a batch takes is free."""

log = logging.getLogger("hauberk")

Boundary = Literal["decision", "soft_margin"]
"""Where right ends: at the decision (logit margin 0), or where all other classes together weigh as
much as the label (soft logit margin 0), which comes first: Ding et al. 2020, Remark 2.2."""


class Victim:
    """A classifier wrapped for attack.

    Inside ``with victim.held():`` the model is in eval mode (or as ``mode`` says) and its
    parameters need no gradient; afterwards every module's mode and every parameter's
    ``requires_grad`` are as they were. The parameters' ``grad`` is never touched.

    Attributes:
        forwards, backwards: passes so far (one example through the model once is one).
        stiff: why the model's gradients cannot be softened; None while they can.
        top_label: largest label of the run; a model with too few classes for it is refused.
        draws: passes behind one set of logits (a stochastic model is averaged).
        single: whether the model has one logit z, which is read as [0, z].
        exact: the only batch size that the model takes; None if it takes any.
        plain: whether the decision is the argmax of the logits (an ensemble that votes is not).
        boundary: what :meth:`wrong` goes by; see :meth:`bounded`.
        goal: what counts as success, if not every wrong class; see :meth:`aiming`.
        mode: ``eval``, or ``train`` for attacks that shall see train mode; running statistics are
            left alone then.
    """

    mode = "eval"
    boundary: Boundary = "decision"
    goal: Goal | None = None
    plain = True
    draws = 1

    def __init__(self, model: nn.Module, batch_size: int | None = None) -> None:
        if not callable(model):
            raise InputError(f"the model must be a torch.nn.Module, not {type(model).__name__}")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: give 1 or more, or leave it out")
        self.model = model
        self.forwards = 0
        self.backwards = 0
        self.asked_batch = self._chunk = batch_size
        self._row_bytes: int | None = None
        self._next_look = 0.0
        self._in_place: bool | None = None
        self.stiff = _sealed(model)
        self.top_label = 0
        self.single = False
        self.exact = exact_batch(model)
        self._said: set[str] = set()
        self.device, self.dtype = _home(model)
        _require_ordinary(model)

    @classmethod
    def of(cls, model: "nn.Module | Victim", batch_size: int | None = None) -> "Self | Victim":
        """The victim itself, or a model wrapped."""
        return model if isinstance(model, Victim) else cls(model, batch_size)

    @contextmanager
    def held(self) -> Iterator[Self]:
        """Eval mode and frozen parameters for the time of the block; re-entrant."""
        modules = list(self.model.modules()) if isinstance(self.model, nn.Module) else []
        modes = [(m, m.training) for m in modules]
        norms = [(m, m.track_running_stats, m.momentum) for m in modules if isinstance(m, _Norm)]
        frozen = [p for m in modules[:1] for p in m.parameters() if p.requires_grad]
        try:
            if self.mode == "train" and modules:
                self.model.train()
                for norm, _, _ in norms:
                    # Either alone leaves one kind of normalisation updating its statistics.
                    norm.track_running_stats, norm.momentum = False, 0.0
            elif any(training for _, training in modes):
                eval_mode(self.model)
            for p in frozen:
                p.requires_grad_(False)
            yield self
        finally:
            for module, training in modes:
                module.training = training
            for norm, tracks, momentum in norms:
                norm.track_running_stats, norm.momentum = tracks, momentum
            for p in frozen:
                p.requires_grad_(True)

    @contextmanager
    def bounded(self, boundary: Boundary) -> Iterator[Self]:
        """Within the block :meth:`wrong` and :meth:`margin` go by this boundary; re-entrant.

        ``decision`` keeps the boundary that is in force.

        Raises:
            InputError: for an unknown one; for the soft margin of votes or of averaged draws.
        """
        require_boundary(boundary)
        if boundary == "soft_margin" and not self.plain:
            raise InputError(
                "the soft margin is one model's: of votes and of averaged draws take the decision"
            )
        before = self.boundary
        try:
            if boundary != "decision":
                self.boundary = boundary
            yield self
        finally:
            self.boundary = before

    def aiming(self, goal: Goal | None) -> Self:
        """The same victim, of which this goal is wanted; itself if it is already.

        Labels that it is given are then those of :meth:`hauberk.victims.goals.Goal.aims`.

        Raises:
            InputError: for votes and averaged draws.
        """
        if goal is self.goal:
            return self
        if goal is not None and not self.plain:
            raise InputError(f"the goal {goal} is one model's: not of votes or of averaged draws")
        other = copy(self)
        other.goal = goal
        return other

    def seen(self, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The logits ``(B, K)`` and labels ``(B,)`` that losses go by: others, with a goal."""
        return (logits, y) if self.goal is None else self.goal.seen(logits, y)

    def batch_size(self, example: Tensor) -> int:
        """Examples that go through the model at once; halved whenever memory runs out."""
        if self._chunk is None:
            self._chunk = usual_batch(self.device, example)
        if (
            self._row_bytes is not None
            and self._chunk > 1
            and (now := monotonic()) > self._next_look
        ):
            self._next_look = now + LOOK_EVERY
            self._look(self._row_bytes * self._chunk)
        return self._chunk

    def _look(self, need: int) -> None:
        """Halve the batch if others have taken the memory: the system may end the process first."""
        free = free_memory(self.device)
        if self._chunk is not None and free is not None and free < SCARCE * need:
            self._chunk //= 2
            log.info("memory is scarce: from here on batches are of %d", self._chunk)

    @property
    def rows(self) -> int | None:
        """Rows that go through the model at once; None while that is not decided."""
        return self._chunk

    @property
    def row_bytes(self) -> int | None:
        """Bytes of memory that a row takes on its way through and back; None if not known."""
        return self._row_bytes

    def take(self, rows: int | None, each: int | None = None) -> None:
        """Let so many rows through the model at once, unless another number was asked for.

        Args:
            each: bytes that one takes; if they are known, fewer are let through while so little
                memory is left that it could not hold a quarter of them.
        """
        if self.asked_batch is None and rows is not None:
            self._chunk, self._row_bytes = rows, each

    def logits(self, x: Tensor, soften: float = 0.0) -> Tensor:
        """``(B, ...) -> (B, C)``, in the model's dtype, on the autograd graph if ``x`` is on it.

        Args:
            soften: width of the smoothed gradients (:class:`hauberk.victims.softening.Softened`);
                0 for the model's own. The logits are the same.

        Raises:
            InputError: if the model returns nothing that is logits
                (:func:`~hauberk.victims.outputs.as_logits`), or has too few classes for the labels.
        """
        self.forwards += len(x)
        given = x if x.dtype == self.dtype else x.to(self.dtype)
        if self._in_place is not False:
            given = given.clone()
        version = given._version
        soft = soften and x.requires_grad
        out = self._through(given, soften) if soft else self._read(self.model, given)
        if self._in_place is None and len(x):
            # A model that overwrites its input gets a copy each time; others need none. What is
            # written through x.data or numpy leaves no trace but the values.
            kept = x.detach().to(given.dtype)
            self._in_place = given._version != version or not torch.equal(given.detach(), kept)
        if out.shape[1] <= self.top_label:
            raise InputError(
                f"labels reach {self.top_label} but the model has {out.shape[1]} classes: "
                f"labels must be 0 to {out.shape[1] - 1}"
            )
        return out

    def _through(self, given: Tensor, soften: float) -> Tensor:
        if self.stiff is None:
            kept = given.clone()
            try:
                # A compiled model hides its operations; what it was made from does not.
                model = getattr(self.model, "_orig_mod", self.model)
                with unhooked(model), Softened(soften):
                    return self._read(model, given)
            except Exception as error:  # whatever a user's model raises when looked into
                if out_of_memory(error) or isinstance(error, InputError):
                    raise
                self.stiff = f"{type(error).__name__}: {error}".splitlines()[0]
                given = kept
        return self._read(self.model, given)

    def _read(self, model: Callable[[Tensor], Any], given: Tensor) -> Tensor:
        """The logits ``(B, C)`` in what the model returns."""
        if given.requires_grad and torch.is_grad_enabled():
            with without_reentry():
                return self._rows(model, given)
        return self._rows(model, given)

    def _rows(self, model: Callable[[Tensor], Any], given: Tensor) -> Tensor:
        if self.exact is None:
            out = self._table(model(given), len(given))
        else:
            out = in_batches(lambda x: self._table(model(x), len(x)), given, self.exact)
        if given.requires_grad and torch.is_grad_enabled() and not out.requires_grad:
            self._say(
                "the model's output has no gradient (no_grad, inference_mode, detach() or integers "
                "in its forward): attacks by gradients are blind; try the suite gradient-free"
            )
        return out

    def _table(self, out: Any, count: int) -> Tensor:
        found = as_logits(out, count, self.top_label)
        self.single |= found.single
        self._say(found.note)
        self._say(found.doubt, warn)
        return found.values

    def _say(self, text: str, tell: Callable[[str], None] = log.info) -> None:
        """Tell something once."""
        if text and text not in self._said:
            self._said.add(text)
            tell(text)

    def gradient(self, head: Tensor, slope: Tensor | None, u: Tensor, keep: bool = False) -> Tensor:
        """Gradient in ``u``, back from ``head``; NaN entries become 0, infinite ones huge.

        Args:
            head: what to go back from. ``slope``: the gradient in it; None for a scalar.
            u: the input on the graph.
            keep: leave the graph for another gradient.
        """
        self.backwards += len(u)
        if head.requires_grad:
            (grad,) = torch.autograd.grad(head, u, slope, retain_graph=keep, allow_unused=True)
            if grad is not None:
                # An expanded gradient (of a sum, say) cannot be written to.
                return grad.nan_to_num_() if grad.is_contiguous() else grad.nan_to_num()
        return torch.zeros_like(u)

    def wrong(self, logits: Tensor, y: Tensor) -> Tensor:
        """True where the victim's decision is not ``y``, ``(B,)``; ties and NaN are wrong.

        By the soft margin: where it is 0 or more, in float64 (:meth:`bounded`).
        """
        if self.boundary == "soft_margin":
            return (self.margin(logits, y) < 0).logical_not_()
        return wrong(logits, y) if self.goal is None else wrong(*self.seen(logits.double(), y))

    def margin(self, logits: Tensor, y: Tensor) -> Tensor:
        """Logit margin, or soft logit margin, ``(B,)`` float64: below 0 where not wrong."""
        shown, own = self.seen(logits.double(), y)
        return (soft_margin if self.boundary == "soft_margin" else margin)(shown, own)

    def predict(self, x: Tensor) -> Tensor:
        """Logits without gradients, in chunks, ``(B, C)``."""
        x = x.to(self.device)
        size = self.batch_size(x[:1])
        done: list[Tensor] = []
        start = 0
        with torch.no_grad():
            while start < len(x):
                try:
                    done.append(self.logits(x[start : start + size]))
                except MEMORY_ERRORS as error:
                    size = self.shrink(error, size)
                    continue
                start += size
        return torch.cat(done) if done else x.new_empty(0, 0)

    def shrink(self, error: BaseException, size: int) -> int:
        """Half the batch size after memory ran out; any other error is raised again.

        Raises:
            InputError: if it ran out with a single example.
        """
        self._chunk = halved(error, size)
        log.info("memory ran out with batches of %d: from here on they are of %d", size, size // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._chunk


def require_boundary(boundary: str) -> None:
    """Refuse a boundary that there is not.

    Raises:
        InputError: naming those that there are.
    """
    if boundary not in get_args(Boundary):
        known = " or ".join(get_args(Boundary))
        raise InputError(f"unknown boundary '{boundary}': choose {known}")


def usual_batch(device: torch.device, example: Tensor) -> int:
    """Examples through a model at once, by the size of one alone; memory may demand fewer.

    Beyond a few million numbers per batch nothing gets faster; on a CPU caches decide.

    Args:
        example: one input ``(1, ...)``.
    """
    budget = 2**22 if device.type == "cpu" else 2**26
    most = 256 if device.type == "cpu" else 1024
    return max(1, min(most, budget // max(1, example.numel())))


def _sealed(model: object) -> str | None:
    """Why the model's layers cannot be replaced, judging by its type."""
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        return "it is TorchScript, scripted or traced: give the module that it was made from"
    return None


def _require_ordinary(model: nn.Module) -> None:
    """Refuse weights through which no gradient can go."""
    if isinstance(model, nn.Module) and any(p.is_inference() for p in model.parameters()):
        raise InputError(
            "the model's weights were made inside torch.inference_mode(), which forbids gradients: "
            "make it outside, or give copy.deepcopy(model) of it"
        )


def _home(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of the model's first floating parameter or buffer; CPU float32 without."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32
