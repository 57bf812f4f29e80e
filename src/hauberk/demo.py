"""The demonstration: two small models on embedded data, and what several threats do to them."""

import time
from pathlib import Path

import torch
from torch import nn

from hauberk.attacks import PGD
from hauberk.data import load_data
from hauberk.errors import InputError
from hauberk.evaluation.accuracy.evaluate import evaluate
from hauberk.models import MLP
from hauberk.report.progress import shown
from hauberk.report.tables.accuracy import compare
from hauberk.threats import L1, L2, Linf, Union
from hauberk.train import MAX, Standard, fit

THREATS = Union(Linf(0.1), L2(0.6), L1(2.0))
SIZES = (64, 128, 64, 10)
EPOCHS = 30


def digits_net() -> nn.Module:
    """The demonstration's model: 8x8 digits in [0, 1], two hidden layers.

    Example:
        >>> digits_net()(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    return MLP(SIZES)


def run(out: Path, seed: int = 0) -> None:
    """Train, evaluate and compare a plain model and one trained by MAX.

    Args:
        out: where models and ledgers go; a new folder ``out-2``, ``out-3``, ... if it exists.
        seed: of all random numbers.

    Raises:
        InputError: if the folder cannot be written.
    """
    out = _fresh(out)
    # Models this small gain nothing from threads, and lose much where cores are busy.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _compare(out, seed)
    finally:
        torch.set_num_threads(threads)


def _compare(out: Path, seed: int) -> None:
    train, test = load_data("digits:train"), load_data("digits:test")
    print(f"{len(train.images)} training and {len(test.images)} test images of 8x8 digits")
    print(f"threats: {THREATS}")
    summaries = {}
    resisting = MAX(THREATS, attacks=PGD(steps=7), grow=0.5)
    rates = [(0.0, 1e-4), (0.3 * EPOCHS, 2e-3), (EPOCHS, 0.0)]
    for name, strategy in (("standard", Standard()), ("MAX-trained", resisting)):
        begun = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = digits_net()
        fit(model, train, strategy, epochs=EPOCHS, minibatch=64, schedule=rates, seed=seed)
        print(f"{name}: trained in {time.perf_counter() - begun:.0f} s, now under attack")
        stem = name.lower().replace("-trained", "")
        _save(model, out / f"{stem}.safetensors")
        with shown() as progress:
            result = evaluate(
                model, test.images, test.labels, THREATS, suite="standard", seed=seed,
                ids=test.ids, out=out / stem, progress=progress,
                manifest={"model": "hauberk.demo:digits_net", "data": "digits:test"},
            )  # fmt: skip
        summaries[name] = result.summary
    print()
    compare(summaries).print()
    print(f"\nmodels and ledgers: {out}. Judge one again, from disk:")
    print(f"  hauberk verify {out}/max --model hauberk.demo:digits_net "
          f"--weights {out}/max.safetensors")  # fmt: skip


def _fresh(out: Path) -> Path:
    """A new folder: this one, or the first of ``out-2``, ``out-3``, ... that does not exist."""
    chosen, number = out, 1
    while chosen.exists():
        number += 1
        chosen = out.with_name(f"{out.name}-{number}")
    try:
        chosen.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot write to {chosen}: {error.strerror}; choose --out") from error
    return chosen


def _save(model: nn.Module, path: Path) -> None:
    from safetensors.torch import save_file

    save_file(model.state_dict(), path)
