"""The console command: finds the command that is named, runs it, and shows errors in one line."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from hauberk.cli.processes import first_speaks
from hauberk.errors import HauberkWarning, InputError, ProcessError, TrainingError, later
from hauberk.machines import launch
from hauberk.spec.build import did_you_mean

if TYPE_CHECKING:
    from hauberk.cli.options import Command

COMMANDS = {
    "evaluate": "attack a model under several threats and report what stands",
    "radius": "find the least perturbation of every example that fools the model",
    "patterns": "draw what the perturbations of several solvers look like",
    "trace": "draw the loss of an attack against its steps, one curve for each setting",
    "landscape": "draw the loss around an example, towards the points of attacks",
    "gallery": "draw clean and adversarial images, a column for each threat or mixture",
    "filters": "draw the first-layer filters of models, and name those that only compare a pixel",
    "minmax": "fool several models or transformations by one perturbation; find the hardest",
    "curves": "draw accuracy against the size of threats, a curve a model",
    "transfer": "craft points on each of several models and try them on all",
    "corruptions": "measure accuracy on common corruptions: noise, blur, weather, files",
    "price": "what resisting several threats costs, from runs of evaluate",
    "merge": "make one run of the shards that several jobs did of it",
    "verify": "judge the points of a finished run again, from disk",
    "export": "write adversarial points of a run as 8-bit images, judged again after rounding",
    "train": "train a model that resists several threats at once",
    "sweep": "train recipes in several variants; how many of the models pass a threshold",
    "demo": "train and compare two small models on embedded data (a minute or two)",
}
"""What each command does; ``NAME`` is the class ``NameCommand`` of ``hauberk.cli.NAME``."""

_LISTED = "\n".join(f"  {name:11} {about}" for name, about in COMMANDS.items())

ABOUT = f"""\
How robust is a PyTorch classifier against many kinds of perturbation at once?

commands:
{_LISTED}

Try first:
  hauberk demo

Then your own model, with inputs in [0, 1]; --mean imagenet if it takes normalised ones:
  hauberk evaluate --model my_package.nets:make_net --weights net.safetensors \\
      --data npz:test.npz --limit 200 \\
      --threat linf:8/255 --threat l2:0.5 --threat l1:12 --out runs/net
  hauberk verify runs/net --model my_package.nets:make_net --weights net.safetensors
  hauberk radius --model my_package.nets:make_net --weights net.safetensors \\
      --data npz:test.npz --limit 200 --metric linf --metric l2 --eps l2:0.5 --out runs/radii
  hauberk patterns --model my_package.nets:make_net --weights net.safetensors \\
      --data npz:test.npz --limit 50 --solver fab --out runs/patterns

Several models at once, the worst case (min-max) beside the average; --group 10 makes one
perturbation for every 10 images:
  hauberk minmax --model nets.py:a --weights a.npz --model nets.py:b --weights b.npz \\
      --data npz:test.npz --limit 200 --threat linf:8/255 --transform ori --transform rot:30 \\
      --out runs/both

Points of each model tried on all (hidden gradients show), over several sizes:
  hauberk transfer --model runs/a --model runs/b --data npz:test.npz --limit 200 \\
      --threat linf:4/255 --threat linf:8/255 --out runs/transfer

Pictures (.png or .svg) and their numbers: loss per step, the loss around an example, adversarial
images, first-layer filters:
  hauberk trace --model runs/a --data npz:test.npz --limit 100 --threat l1:12 --attack PGD \\
      --set steps=1000 --vary q=0.8,0.95,0.995,none --out trace.svg
  hauberk landscape --model runs/a --data npz:test.npz --limit 100 --threat l1:12 --out plane.svg
  hauberk landscape --model runs/a --model runs/b --along segment --data npz:test.npz \\
      --limit 50 --threat linf:8/255 --out segments.svg
  hauberk gallery --model runs/a --data npz:test.npz --limit 50 \\
      --threat 'affine(linf:8/255,l1:12)' --out gallery.png
  hauberk filters --model runs/a --model runs/b --out filters.svg

Training, by the strategy of your choice (--dry-run tells the cost, --devices 4 takes so many GPUs):
  hauberk train --model my_package.nets:make_net --data npz:train.npz --validation 1000 \\
      --strategy max --set steps=10 --threat linf:0.1 --threat l2:0.5 --epochs 15 \\
      --schedule 0:0,6:1e-3,15:0 --out runs/train

options:
  --model    a callable that returns a torch.nn.Module (or a module): package.module:name
             or path/to/file.py:name; hauberk.models has some: hauberk.models:SmallCNN; or
             the folder of a training, which names its weights too: runs/train; or timm:NAME,
             hf:DIR, torchvision:NAME, robustbench:NAME, FILE.pt2, FILE.onnx
  --weights  .safetensors, .npz, or what torch.save wrote (no code is executed); FILE:KEY for one
             of several sets in a file
  --data     digits:test (embedded), mnist:test, fashion:test, cifar10:test (with --data-dir),
             npz:FILE (arrays images and labels), folder:DIR, or package.module:name
  --threat   linf:EPS, l2:EPS, l1:EPS, l0:COUNT, lP:EPS; EPS a number or a fraction (8/255);
             rt:DEGREES,PIXELS for rotations and shifts; affine(A,B) for part of A, then of B
  --suite    fast (a first look), standard (to quote), gradient-free, autoattack, those of papers
             (maini2020, tramer2019, ...), or a .yaml file; --list-suites shows what they hold and
             cost
  --metric   linf, l2, l1, l0 or lP: what a radius is measured in; with --threat (balls) also the
             radius of their union, in units of their sizes
  --solver   best (to quote), or one method: fmn, ddn, fab, bisection, ...
  --transform  what an image must survive: ori, flh, flv, bri:0.1, gam:1.3, crop:0.8, rot:30,
             rot:-10..10, jpeg:75, sometimes(flh,0.8), joined by '+'; or wang2021:deterministic
             or wang2021:stochastic for the seven of that paper
  --strategy  max, trades, msd, mma, ... ('hauberk train --help'), or file.py:name of your own

exit codes: 0 done; 2 bad input (one line says what to do), or a warning under --strict;
1 anything else
'hauberk COMMAND --help' lists a command's options.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    try:
        with warnings.catch_warnings(), first_speaks():
            warnings.showwarning = _show_warning
            return _run(sys.argv[1:] if argv is None else argv)
    except (InputError, TrainingError, ProcessError) as error:
        if launch.leave(error):
            return 1
        print(f"hauberk: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt as stop:
        if launch.ERRORS in os.environ:  # the process that began this one says so
            return 1
        left = f"{stop}" or "nothing of this run is kept"
        print(f"hauberk: interrupted; {left}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def entry() -> None:
    """The console script."""
    sys.exit(main())


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(ABOUT, end="")
        return 0
    if argv[0] == "--version":
        from hauberk.__about__ import __version__

        print(f"hauberk {__version__}")
        return 0
    name, *words = argv
    if name not in COMMANDS:
        raise InputError(
            f"unknown command '{name}': choose one of {', '.join(COMMANDS)}"
            f"{did_you_mean(name, COMMANDS)}; 'hauberk --help' shows what they do"
        )
    from hauberk.cli.interrupted import Kept
    from hauberk.cli.options import Command
    from hauberk.cli.parsing import in_options, parse

    kind: type[Command] = getattr(import_module(f"hauberk.cli.{name}"), f"{name.title()}Command")
    command = parse(kind, name, COMMANDS[name], words)
    kept = Kept(command)
    try:
        with _noted():
            return _strictly(command) if command.strict else command.run()
    except (InputError, TrainingError) as error:
        raise type(error)(in_options(str(error), kind)) from error
    except ProcessError as error:
        raise ProcessError(f"{error}; {kept}") from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(kept)) from stop


def _strictly(command: "Command") -> int:
    """Run a command whose warnings are errors; those of results leave the results where they are.

    Raises:
        InputError: for a warning before the work.
    """
    with warnings.catch_warnings(), later() as found:
        warnings.simplefilter("error", HauberkWarning)
        try:
            code = command.run()
        except HauberkWarning as warning:
            raise InputError(f"warning: {warning}; --strict: nothing was attacked") from warning
    if not found or code:
        return code
    more = f" ({len(found)} warnings in all)" if len(found) > 1 else ""
    out = getattr(command, "out", None)
    kept = f"the result is kept in {out}" if out else "the result is shown above"
    print(f"hauberk: warning: {found[0]}{more}; --strict: {kept}", file=sys.stderr)
    return 2


@contextmanager
def _noted() -> Iterator[None]:
    """Show what the library logs, each line once; leave torch's number of threads as it was."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    log, notes = logging.getLogger("hauberk"), _Notes()
    level = log.level
    log.addHandler(notes)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(notes)
        log.setLevel(level)
        if torch and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


class _Notes(logging.Handler):
    """Prints to stderr, wherever that is now: a bar of progress may have taken its place."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.shown and launch.rank() == 0:
            self.shown.add(line)
            print(f"hauberk: {line}", file=sys.stderr)


def _show_warning(
    message: Warning | str, category: type[Warning], *_: object, **__: object
) -> None:
    text = " ".join(str(message).split())
    if issubclass(category, HauberkWarning) and launch.rank() == 0:
        print(f"hauberk: warning: {text}", file=sys.stderr)
