"""Keep what the code computes today, and compare it with what it computes tomorrow.

::

    python tests/golden/snapshot.py save FILE.npz [--only PREFIX]      everything, in minutes
    python tests/golden/snapshot.py compare FILE.npz [--only PREFIX]   bit for bit; exit 1 if not
    python tests/golden/snapshot.py renew                              the numbers of the tests
    python tests/golden/snapshot.py list                               the names of the cases

Snapshots hold for one machine and one build of PyTorch: make both on the same.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from collect import FULL, SMALL, collect
from compare import WORDS, differences, load, save

EXPECTED = Path(__file__).with_name("expected.npz")


def registered() -> None:
    """Load the cases."""
    import cases_attacks
    import cases_more
    import cases_small

    assert cases_attacks
    assert cases_more
    assert cases_small


def chosen(only: str) -> dict:
    """All cases whose names begin so."""
    registered()
    return {k: v for k, v in {**SMALL, **FULL}.items() if k.startswith(only)}


def show(name: str) -> None:
    """Say on the terminal which case runs."""
    if sys.stderr.isatty():
        print(f"\r\033[K{name}", end="", file=sys.stderr, flush=True)


def facts() -> dict[str, str]:
    """What numbers may depend on besides the code."""
    return {"torch": torch.__version__, "numpy": np.__version__}


def compare(file: Path, only: str) -> int:
    """Tell the differences; 1 if there are any."""
    old, made_with = load(file)
    new = collect(chosen(only), show)
    if made_with != facts():
        print(f"the snapshot was made with {made_with}, and this is {facts()}")
    wrong = words = 0
    for name in [n for n in old if n.startswith(only) and n not in new]:
        print(f"{name}: the case is missing now")
        wrong += 1
    for name, arrays in new.items():
        told = differences(old[name], arrays) if name in old else ["the case is new"]
        for line in told:
            print(f"{name}/{line}")
        milder = sum(f": {WORDS}" in line for line in told)
        words += milder
        wrong += len(told) > milder
    print(f"{len(new)} cases, {wrong} of them differ; {words} errors differ only in words")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("save", "compare", "renew", "list"))
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--only", default="", help="beginning of the names of cases")
    parser.add_argument("--slow", action="store_true", help="list: run them, and tell the seconds")
    asked = parser.parse_args()
    if asked.what in ("save", "compare") and asked.file is None:
        parser.error("give a file, FILE.npz")
    begun = time.perf_counter()
    if asked.what == "list":
        for name, function in chosen(asked.only).items():
            start = time.perf_counter()
            seen = collect({name: function}) if asked.slow else {}
            failed = ["FAILED" for arrays in seen.values() if "error" in arrays]
            spent = [f"{time.perf_counter() - start:.2f} s"] if asked.slow else []
            print(name, *spent, *failed)
        return 0
    if asked.what == "compare":
        code = compare(asked.file, asked.only)
    else:
        cases = chosen(asked.only)
        if asked.what == "renew":
            cases = {k: v for k, v in cases.items() if k in SMALL}
        found = collect(cases, show)
        file = EXPECTED if asked.what == "renew" else asked.file
        save(file, found, **facts())
        failed = sum("error" in arrays for arrays in found.values())
        print(f"{len(found)} cases ({failed} of them errors) in {file}")
        code = 0
    print(f"{time.perf_counter() - begun:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
