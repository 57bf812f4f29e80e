"""What an optimiser step costs with each strategy, in forwards and backwards per example.

python benchmarks/step_cost.py [--steps 10]

Threats: linf 0.3, l2 2 and l1 10. A backward is that of an input's gradient; the training loss's
own counts as one too. The forwards are counted a second time by a hook on the last layer.
"""

import argparse

import torch

import hauberk as hb
from hauberk import train
from hauberk.models import kwsmall_mnist

EXAMPLES = 24


def main() -> None:
    """Print a line for each strategy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    steps = parser.parse_args().steps
    balls = hb.Union(hb.Linf(0.3), hb.L2(2), hb.L1(10))
    cases: dict[str, train.Strategy] = {
        "standard": train.Standard(),
        "single, linf": train.Single(hb.Linf(0.3), steps=steps),
        "trades, linf": train.TRADES(hb.Linf(0.3), attack=hb.attacks.PGD(steps=steps)),
        "avg": train.AVG(balls, steps=steps),
        "max": train.MAX(balls, steps=steps),
        "msd": train.MSD(balls, steps=steps),
        "msd, first order": train.MSD(balls, steps=steps, ranking="first_order"),
        "ampgd": train.AMPGD(balls, steps=steps),
        "random-norm": train.RandomNorm(balls, steps=steps),
        "eat": train.EAT(balls, steps=steps),
        "ramp": train.RAMP(balls, steps=steps),
        "mma, l2 6": train.MMA(hb.L2(6), steps=steps),
    }
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(EXAMPLES, 1, 28, 28, generator=generator)
    print(f"{'strategy':18}{'forwards':>10}{'backwards':>11}{'passes':>8}{'hook':>10}")
    for name, strategy in cases.items():
        torch.manual_seed(0)
        model, seen = kwsmall_mnist(), [0]
        last = list(model.children())[-1]
        last.register_forward_hook(lambda m, a, out, to=seen: to.__setitem__(0, to[0] + len(out)))
        y = model(x).argmax(1)  # right, so that MMA attacks them
        seen[0] = 0
        words = {"epochs": 1, "minibatch": EXAMPLES, "learning_rate": 0.0, "optimiser": "sgd"}
        record = train.fit(model, (x, y), strategy, **words).history[0]  # type: ignore[arg-type]
        forwards, backwards = record["forwards"] / EXAMPLES, record["backwards"] / EXAMPLES
        # The trainer looks at two examples first, to learn the number of classes.
        told = f"{name:18}{forwards:10.2f}{backwards:11.2f}{forwards + backwards:8.2f}"
        print(f"{told}{(seen[0] - 2) / EXAMPLES:10.2f}")


if __name__ == "__main__":
    main()
