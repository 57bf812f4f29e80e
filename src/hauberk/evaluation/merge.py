"""Shards of a run, done by jobs that knew nothing of each other, made into the one run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hauberk.errors import InputError
from hauberk.evaluation.core.given import held_by, keep
from hauberk.evaluation.core.question import Question
from hauberk.evaluation.core.run import CLEAN
from hauberk.evaluation.core.shard import Shard
from hauberk.evaluation.load import load
from hauberk.spec.arrays import given
from hauberk.store.folder import distinct, in_words
from hauberk.store.ledger import VOLATILE, Ledger


def merge(
    shards: Sequence[str | Path], out: str | Path, *, objects: Mapping[str, Any] | None = None
) -> Any:
    """Make one ledger of the shards of a run: that of the run in one piece.

    Parts are copied as they are, and summed up anew. A floor, which takes the results of all
    blocks, is not done yet: the run that is left is resumed without ``shard``.

    Args:
        shards: the folders of all shards, in any order.
        out: the folder of the whole run.
        objects: as of :func:`hauberk.load`.

    Returns:
        The result, as of :func:`hauberk.load`; None where the run has to be resumed.

    Raises:
        InputError: for folders that are not all the shards of one run, each once and finished; for
            another run in ``out``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import torch, hauberk as hb
        >>> net, x = hb.models.MLP((4, 8, 3)), torch.rand(6, 4)
        >>> y = net(x).argmax(1)
        >>> with TemporaryDirectory() as run:
        ...     for k in (1, 2):
        ...         own = dict(block=2, shard=(k, 2), out=f"{run}/{k}")
        ...         _ = hb.evaluate(net, x, y, "linf:0.1", suite="fast", **own)
        ...     merge([f"{run}/1", f"{run}/2"], f"{run}/all").summary["n"]
        6
    """
    ledgers = _in_order([Ledger.open(path) for path in shards])
    first = ledgers[0].manifest
    manifest = {key: value for key, value in first.items() if key != "shard"}
    warnings = [line for ledger in ledgers for line in ledger.manifest.get("warnings") or ()]
    manifest |= {
        "warnings": list(dict.fromkeys(warnings)),
        "started": min(str(ledger.manifest.get("started")) for ledger in ledgers),
    }
    if "command" in manifest:
        manifest["command"] = whole_command(manifest["command"], out)
    whole = Ledger.create(out, manifest, resume=True)
    for ledger in ledgers:
        for key in ledger.keys(""):
            if not whole.has(key):
                whole.adopt(ledger, key)
    arrays = held_by(ledgers[0])
    keep(whole, arrays)
    with given(arrays):
        question = Question.kinds[str(first["kind"])].of(manifest, objects or {})
    if question.has_after and whole.summary() is None:
        return None
    question = question.again(ledgers[0].summary() or {})
    whole.write_summary(question.summarise(whole))
    return load(out, objects=objects)


def whole_command(words: Sequence[str], out: str | Path) -> list[str]:
    """The command of a run in one piece, from that of a shard.

    Example:
        >>> whole_command(["hauberk", "radius", "--shard=1/2", "--out", "a", "--resume"], "all")
        ['hauberk', 'radius', '--out', 'all']
    """
    made: list[str] = []
    skip = False
    for word in words:
        name, given, _ = word.partition("=")
        if name in ("--shard", "--out", "--devices", "--nodes"):
            skip = not given
        elif skip or word == "--resume":
            skip = False
        else:
            made.append(word)
    return [*made, "--out", str(out)]


def _in_order(ledgers: Sequence[Ledger]) -> list[Ledger]:
    """The ledgers by the number of their shard; refuses what is not all of one run."""
    if not ledgers:
        raise InputError("no shards: give the folders of all of them")
    found: dict[int, Ledger] = {}
    for ledger in ledgers:
        if "shard" not in ledger.manifest:
            raise InputError(f"{ledger.path} is no shard, but a run on all examples: leave it out")
        shard = Shard.of(ledger.manifest["shard"])
        if shard.number in found:
            twice = f"{found[shard.number].path} and {ledger.path}"
            raise InputError(f"shard {shard} is given twice, as {twice}: give each once")
        other = _without_number(ledgers[0])
        if differs := distinct(other, _without_number(ledger), VOLATILE, in_words):
            raise InputError(
                f"{ledger.path} is a shard of another run than {ledgers[0].path}: {differs}: "
                "give shards of one run"
            )
        found[shard.number] = ledger
    many = Shard.of(ledgers[0].manifest["shard"]).many
    if missing := [str(Shard(k, many)) for k in range(1, many + 1) if k not in found]:
        noun = "shard" if len(missing) == 1 else "shards"
        raise InputError(f"{noun} {', '.join(missing)} missing: give the folders of all {many}")
    held: dict[str, Ledger] = {}
    for number, ledger in sorted(found.items()):
        _require_whole(ledger, Shard(number, many))
        for key in ledger.keys(""):
            if key in held:
                raise InputError(
                    f"{ledger.path} and {held[key].path} both hold part {key}: one of them was "
                    "changed; restore it from a copy"
                )
            held[key] = ledger
    return [ledger for _, ledger in sorted(found.items())]


def _without_number(ledger: Ledger) -> dict[str, Any]:
    """What shards of one run have in common."""
    return ledger.manifest | {"shard": ledger.manifest["shard"][1:]}


def _require_whole(ledger: Ledger, shard: Shard) -> None:
    size = int(ledger.manifest["block"])
    blocks = shard.blocks(-(-int(ledger.manifest["n"]) // size))
    lacks = [CLEAN.format(number) for number in blocks if not ledger.has(CLEAN.format(number))]
    if lacks or ledger.summary() is None:
        why = f" (it holds no part {lacks[0]})" if lacks else ""
        raise InputError(
            f"shard {shard} in {ledger.path} is not finished{why}: run it again with --resume"
        )
