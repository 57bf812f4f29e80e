"""MMA against training at a fixed eps: Figure 4 of Ding et al. 2020 in shape, on MNIST in l2.

    python recipes/train/margins.py --data-dir DIR [--only mma-6]

Two small networks see the first 10,000 training images at about the same cost: MMA with d_max 6,
and PGD at a fixed eps of 4. After every epoch the margins of 500 fixed training images are measured
(DDN, judged); at the end with 1000 steps, as in the paper. An interrupted training goes on where it
was. Writes the section "Margins" of docs/results/training.md, and pictures beside it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hauberk as hb
from hauberk import train
from hauberk.analysis.margins import margins
from hauberk.data import load_data
from hauberk.models import kwsmall_mnist
from hauberk.report.plots.margins import by_epoch, small_shares

RUNS = Path("runs/train")
SMALL = 0.05
FINE = 1000
COARSE = 100
NAMES = {
    "mma-6": "MMA, d_max 6",
    "pgd-4": "PGD, eps 4",
    "pgd-3": "PGD, eps 3",
    "pgdls-4": "PGDLS, eps 4",
}
EPOCHS = {"mma-6": 12, "pgd-4": 15, "pgd-3": 15, "pgdls-4": 15}
"""About 3.5 million passes each: MMA spends 31 an example, with PGD of 10 steps it is 23."""

Margins = dict[int, np.ndarray[Any, Any]]


def strategy(name: str) -> train.Strategy:
    """What a name stands for."""
    if name == "mma-6":
        return train.MMA(hb.L2(6), steps=10, eps_init=0.5)
    if name == "pgdls-4":
        return train.PGDLS(hb.L2(4), steps=10)
    return train.Single(hb.L2(float(name.removeprefix("pgd-"))), steps=10)


def follow(
    out: Path, strategy: train.Strategy, data: str, data_dir: str, *, model: Any, epochs: int,
    limit: int | None, points: int = 500, coarse: int = COARSE, fine: int = FINE, **options: Any,
) -> tuple[Margins, train.Trained]:  # fmt: skip
    """A training, and the margins of its first images after every epoch.

    Args:
        out: where it is kept, and goes on from.
        data: what it is trained on, of which the first ``limit`` images.
        model: what makes the network.
        points: images whose margins are measured.
        coarse: steps of DDN after each epoch; fine: after the last.
        options: further ones of ``fit``.

    Returns:
        Margins by epoch, and what ``fit`` returns.
    """
    images = load_data(data, data_dir, limit=limit)
    x, y = images.images[:points], images.labels[:points]
    torch.manual_seed(0)
    net, file, found = model(), out / "margins.npz", read(out / "margins.npz")

    def measure(record: dict[str, Any]) -> None:
        steps = fine if record["epoch"] == epochs else coarse
        was = net.training
        found[record["epoch"]] = margins(net.eval(), x, y, "l2", steps=steps).numpy()
        net.train(was)
        np.savez(file, **{str(epoch): row for epoch, row in found.items()})
        share = (found[record["epoch"]] < SMALL).mean()
        print(f"{out.name}: epoch {record['epoch']}, loss {record['loss']:.3f}, {share:.1%} small",
              flush=True)  # fmt: skip

    fitted = train.fit(
        net, images, strategy, epochs=epochs, seed=0, select="last", out=out, resume=True,
        on_epoch=measure, **options,
    )  # fmt: skip
    return found, fitted


def trained(name: str, data_dir: str) -> tuple[Margins, dict[str, float]]:
    """Margins by epoch, those of 1000 steps last, and what the training came to."""
    out, epochs = RUNS / f"margins-{name}", EPOCHS[name]
    test = load_data("mnist:test", data_dir, limit=1000)
    found, fitted = follow(
        out, strategy(name), "mnist:train", data_dir, model=kwsmall_mnist, epochs=epochs,
        limit=10_000, minibatch=50, schedule=[(0, 2e-4), (0.3 * epochs, 1e-3), (epochs, 0)],
    )  # fmt: skip
    with torch.no_grad():
        clean = (fitted.model(test.images).argmax(1) == test.labels).float().mean().item()
    held = margins(fitted.model, test.images[:500], test.labels[:500], "l2", steps=FINE).numpy()
    passes = fitted.summary["forwards"] + fitted.summary["backwards"]
    tested = {"clean": clean, "passes": passes, "small": float((held < SMALL).mean()),
            "mean": float(held.mean())}  # fmt: skip
    (out / "tested.json").write_text(json.dumps(tested), encoding="utf-8")
    return found, tested


def read(file: Path) -> Margins:
    """What an interrupted run had measured."""
    if not file.exists():
        return {}
    with np.load(file) as stored:
        return {int(epoch): stored[epoch] for epoch in stored.files}


def row(name: str, found: Margins, tested: dict[str, float]) -> list[str]:
    """A training's row."""
    last = found[max(found)]
    # Where nothing fools the network, as a constant one, the margin is inf.
    quarters = np.quantile(last, [0.1, 0.25, 0.5, 0.75, 0.9], method="nearest")
    return [
        NAMES[name], f"{tested['passes'] / 1e6:.2f}", f"{100 * tested['clean']:.1f}",
        f"**{100 * (last < SMALL).mean():.1f}**", f"{100 * tested['small']:.1f}",
        *(f"{q:.2f}" for q in quarters), f"{last.mean():.2f}", f"{tested['mean']:.2f}",
    ]  # fmt: skip


def main() -> None:
    from compare import fill, markdown

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder of the MNIST files")
    parser.add_argument(
        "--only", nargs="*", default=["mma-6", "pgd-4", "pgdls-4"], choices=list(NAMES)
    )
    parser.add_argument("--to", default="docs/results/training.md")
    given = parser.parse_args()
    head = ["training", "Mpasses", "clean (test)", "margin < 0.05 (%)", "on test images",
            "10%", "25%", "median", "75%", "90%", "mean", "mean (test)"]  # fmt: skip
    rows, runs = [], {}
    for name in given.only:
        found, tested = trained(name, given.data_dir)
        rows.append(row(name, found, tested))
        runs[NAMES[name]] = found
    pictures = Path(given.to).parent
    by_epoch(runs, pictures / "margins.png", small=SMALL)
    small_shares(runs, pictures / "margins_small.png", small=SMALL)
    fill(Path(given.to), "margins", markdown(head, rows))


if __name__ == "__main__":
    main()
