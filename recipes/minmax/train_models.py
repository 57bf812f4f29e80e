"""Train the MNIST models A to D of Wang et al. 2021 and set them beside its Table A2.

    python recipes/minmax/train_models.py --data-dir DIR --out runs/minmax/models
        [--models A B C D] [--epochs N] [--seed 0] [--bfloat16] [--paper]

The paper trains for 50 epochs with Adam at a constant rate of 1e-3: `--paper`. Otherwise the rate
rises over the first fifth of the training and falls to 0 after it, which needs fewer epochs. Batch
128, no augmentation. Every epoch leaves a checkpoint: the same command continues an interrupted
run, with the same result, and one with more `--epochs` trains a finished model on. Several runs,
each with its own models, may share one folder.

OUT gets {A,B,C,D}.safetensors, for `load_model("hauberk.models:ModelA", "OUT/A.safetensors")`,
{A,B,C,D}.checkpoint.pt, and accuracies.json. The table has FGSM twice: on cross-entropy, as the
paper has it, and on the logit margin. A network that is sure of itself makes float32 cross-entropy
round its gradient away, so that the first is too high; the second does not suffer from that.
"""

import argparse
import io
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.data import Dataset, load_data
from hauberk.errors import InputError
from hauberk.models import ModelA, ModelB, ModelC, ModelD

BATCH = 128
FGSM_RADIUS = 0.2


@dataclass(frozen=True)
class Plan:
    """How a model is trained here, and what Table A2 says of it (percent)."""

    build: Callable[[], nn.Module]
    epochs: int
    peak: float
    clean: float
    fgsm: float


PLANS = {
    "A": Plan(ModelA, 15, 2e-3, 98.20, 18.92),
    "B": Plan(ModelB, 10, 1e-3, 99.49, 50.95),
    "C": Plan(ModelC, 20, 3e-3, 99.25, 63.23),
    "D": Plan(ModelD, 10, 2e-3, 99.33, 56.36),
}


def main() -> None:
    options = parse()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    train, test = (load_data(f"mnist:{part}", options.data_dir) for part in ("train", "test"))
    for name in options.models:
        model, mine = fit(name, train, options)
        accuracies = evaluate(model, test)
        results = read_results(out)  # again each time: another run may have added to it
        results[name] = {**accuracies, **mine}
        text = json.dumps(dict(sorted(results.items())), indent=2) + "\n"
        replace(out / "accuracies.json", text.encode())
    print(table(read_results(out)), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the IDX files")
    parser.add_argument("--out", type=Path, default=Path("runs/minmax/models"))
    parser.add_argument("--models", nargs="+", choices=sorted(PLANS), default=sorted(PLANS))
    parser.add_argument("--epochs", type=int, help="in place of each model's own number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--bfloat16", action="store_true", help="faster on processors that have it; float32 weights"
    )
    parser.add_argument(
        "--paper", action="store_true", help="50 epochs (or --epochs) at a constant rate of 1e-3"
    )
    options = parser.parse_args()
    if options.epochs is not None and options.epochs < 1:
        parser.error("--epochs must be 1 or more")
    return options


def settings(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All that decides the weights; a checkpoint of other settings is not continued."""
    plan, rest = PLANS[name], {"seed": options.seed, "bfloat16": options.bfloat16}
    if options.paper:
        return {"epochs": options.epochs or 50, "peak": 1e-3, "constant": True, **rest}
    return {"epochs": options.epochs or plan.epochs, "peak": plan.peak, **rest}


def fit(name: str, data: Dataset, options: argparse.Namespace) -> tuple[nn.Module, dict[str, Any]]:
    """Train one model, from its checkpoint if there is one; in eval mode, and how it was made."""
    mine = settings(name, options)
    weights_file = options.out / f"{name}.safetensors"
    checkpoint = options.out / f"{name}.checkpoint.pt"
    torch.manual_seed(options.seed)
    model = PLANS[name].build()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(model.parameters(), lr=mine["peak"])
    done = 0
    if checkpoint.exists():
        found = torch.load(checkpoint, weights_only=True)
        done = found["epochs"]
        leads_to = going_on(found["settings"], done, mine)
        if leads_to is None:
            raise InputError(
                f"{checkpoint} was made with {found['settings']}, not {mine}: "
                "remove it, or give another --out"
            )
        mine = leads_to
        model.load_state_dict(found["weights"])
        optimiser.load_state_dict(found["optimiser"])
        print(f"{name}: {done} of {mine['epochs']} epochs were done before", flush=True)
    began = time.perf_counter()
    for epoch in range(done, mine["epochs"]):
        start = time.perf_counter()
        loss = one_epoch(model, optimiser, data, epoch, mine)
        save_weights(model, weights_file)
        state = {
            "settings": mine,
            "epochs": epoch + 1,
            "weights": model.state_dict(),
            "optimiser": optimiser.state_dict(),
        }
        # After the weights: a run that is cut off between the two repeats the epoch.
        packed = io.BytesIO()
        torch.save(state, packed)
        replace(checkpoint, packed.getvalue())
        now = time.perf_counter()
        left = (now - began) / (epoch + 1 - done) * (mine["epochs"] - epoch - 1)
        print(
            f"{name}: epoch {epoch + 1} of {mine['epochs']}, loss {loss:.4f}, "
            f"{now - start:.0f} s, {left:.0f} s left",
            flush=True,
        )
    return model.eval(), mine


def going_on(before: dict[str, Any], done: int, mine: dict[str, Any]) -> dict[str, Any] | None:
    """`mine`, with the lengths of finished runs that it goes on from; None if `before` differs."""
    after = before.get("after", [])
    expected = {key: value for key, value in before.items() if key != "after"}
    if done == before["epochs"] < mine["epochs"]:
        after = [*after, done]
        expected["epochs"] = mine["epochs"]
    if expected != mine:
        return None
    return {**mine, "after": after} if after else mine


def one_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: Dataset,
    epoch: int,
    mine: dict[str, Any],
) -> float:
    """The mean loss; everything random depends on the seed and the epoch alone."""
    torch.manual_seed(1000 * mine["seed"] + epoch)
    model.train()
    batches = torch.randperm(len(data)).split(BATCH)
    total = 0.0
    for i, picked in enumerate(batches):
        share = (epoch + i / len(batches)) / mine["epochs"]
        for group in optimiser.param_groups:
            group["lr"] = mine["peak"] * (1 if mine.get("constant") else one_cycle(share))
        images = data.images[picked].contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=mine["bfloat16"]):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), data.labels[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(picked)
    return total / len(data)


def one_cycle(share: float, rise: float = 0.2) -> float:
    """The rate as part of its peak: a line from 0.05 up to 1, then half a cosine down to 0."""
    if share < rise:
        return 0.05 + 0.95 * share / rise
    return 0.5 * (1 + math.cos(math.pi * (share - rise) / (1 - rise)))


def evaluate(model: nn.Module, data: Dataset) -> dict[str, float]:
    """Percent of right answers on the clean images, and after one FGSM step on either loss.

    One step counts as it falls, as in Table A2, even where it made a wrong answer right.
    """
    counts = {"clean": 0, "fgsm": 0, "fgsm_margin": 0}
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "fgsm": partial(F.cross_entropy, reduction="sum"),
        "fgsm_margin": margin,
    }
    for x, y in zip(data.images.split(500), data.labels.split(500), strict=True):
        for name, loss in losses.items():
            x = x.detach().requires_grad_(True)
            logits = model(x)
            (grad,) = torch.autograd.grad(loss(logits, y), x)
            with torch.no_grad():
                moved = (x + FGSM_RADIUS * grad.sign()).clamp(0, 1)
                counts[name] += right(model(moved), y)
        counts["clean"] += right(logits, y)
    return {name: 100 * count / len(data) for name, count in counts.items()}


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest wrong logit less the right one, summed."""
    true = F.one_hot(labels, logits.shape[1]).bool()
    wrong = logits.masked_fill(true, -torch.inf).amax(1)
    return (wrong - logits[true]).sum()


def right(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(1) == labels).sum())


def save_weights(model: nn.Module, path: Path) -> None:
    from safetensors.torch import save

    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    replace(path, save(weights))


def replace(path: Path, content: bytes) -> None:
    """Write beside `path` and move into place, so that no reader finds half a file."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_results(out: Path) -> dict[str, dict[str, Any]]:
    path = out / "accuracies.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def table(results: dict[str, dict[str, Any]]) -> str:
    lines = [
        "       clean accuracy %    FGSM linf 0.2 %      on the margin",
        "model    here  Table A2     here  Table A2               here   epochs",
    ]
    for name, row in results.items():
        plan = PLANS[name]
        lines.append(
            f"{name:5}  {row['clean']:6.2f}  {plan.clean:8.2f}   {row['fgsm']:6.2f}  "
            f"{plan.fgsm:8.2f}   {row['fgsm_margin']:16.2f}  {row['epochs']:7d}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"train_models.py: {error}") from None
