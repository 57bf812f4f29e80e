"""A finished run, from its folder: the same object as the function returned that made it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hauberk.evaluation.accuracy.sizes
import hauberk.evaluation.minmax.question
import hauberk.evaluation.radii.question
import hauberk.evaluation.transfers.question
import hauberk.evaluation.universal.question  # noqa: F401  # each makes its kind known
from hauberk.errors import InputError
from hauberk.evaluation.core.given import held_by
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.summary import RunResult
from hauberk.spec.arrays import given
from hauberk.store.ledger import Ledger


def load(path: str | Path, *, objects: Mapping[str, Any] | None = None) -> Any:
    """Open a finished run of any kind: what the function returned that made it.

    No model is needed, and nothing is judged: :func:`hauberk.verify` does that.

    Args:
        path: the folder of the run, its ``out``.
        objects: what a manifest cannot hold as text, by its name there, as of
            :func:`hauberk.verify`; only transformations and domains of one's own need it.

    Returns:
        The result of :func:`hauberk.evaluate`, :func:`hauberk.radius`, :func:`hauberk.minmax`,
        :func:`hauberk.transfer`, :func:`hauberk.universal` or
        :func:`hauberk.evaluation.at_sizes`.

    Raises:
        InputError: if there is no run, it is not finished, or its manifest cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> with TemporaryDirectory() as run:
        ...     made = hb.evaluate(net, x, net(x).argmax(1), "linf:0.1", suite="fast", out=run)
        ...     hb.load(run).accuracy == made.accuracy
        True
    """
    ledger = Ledger.open(path)
    summary = ledger.summary()
    if summary is None:
        raise InputError(f"the run in {ledger.path} is not finished: go on with --resume first")
    kind = Question.kinds.get(str(ledger.manifest.get("kind")))
    try:
        if kind is None:
            raise ValueError(f"its kind is {ledger.manifest.get('kind')!r}")
        with given(held_by(ledger)):
            question = kind.of(ledger.manifest, objects or {}).again(summary)
        found: RunResult = question.result(ledger, summary)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        why = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{ledger.path} cannot be read as a finished run ({why}): restore it from a copy"
        ) from error
    return found
