"""The console command. No logic here: words in, calls out, errors as one line."""

import sys
import warnings
from typing import Any

from hauberk.errors import HauberkWarning, InputError, TrainingError

ABOUT = """\
How robust is a PyTorch classifier against many kinds of perturbation at once?

commands:
  evaluate   attack a model under several threats and report what stands
  radius     find the least perturbation of every example that fools the model
  patterns   draw what the perturbations of several solvers look like
  minmax     fool several models or transformations by one perturbation: which is hardest?
  verify     judge the points of a finished run again, from disk
  train      train a model that resists several threats at once
  demo       train and compare two small models on embedded data (a minute or two)

Try first:
  hauberk demo

Then your own model, with inputs in [0, 1] and normalisation inside it:
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

Training, by one of 13 strategies (--dry-run tells the cost, --devices 4 takes so many GPUs):
  hauberk train --model my_package.nets:make_net --data npz:train.npz --validation 1000 \\
      --strategy max --set steps=10 --threat linf:0.1 --threat l2:0.5 --epochs 15 \\
      --schedule 0:0,6:1e-3,15:0 --out runs/train

words:
  --model    a callable that returns a torch.nn.Module (or a module): package.module:name
             or path/to/file.py:name; hauberk.models has some: hauberk.models:SmallCNN; or
             the folder of a training, which names its weights too: runs/train
  --weights  .safetensors, .npz, or .pt with a plain state dict (no code is executed)
  --data     digits:test (embedded), mnist:test, fashion:test, cifar10:test (with --data-dir),
             npz:FILE (arrays images and labels), folder:DIR, or package.module:name
  --threat   linf:EPS, l2:EPS, l1:EPS, l0:COUNT, lP:EPS; EPS a number or a fraction (8/255);
             rt:DEGREES,PIXELS for rotations and shifts; affine(A,B) for part of A, then of B
  --suite    fast (a first look), standard (to quote), gradient-free, autoattack, maini2020,
             tramer2019, or a .yaml file; --list-suites shows what they hold and cost
  --metric   linf, l2, l1, l0 or lP: what a radius is measured in; with --threat (balls) also the
             radius of their union, in units of their sizes
  --solver   best (to quote), or one method: fmn, ddn, fab, bisection, ...
  --transform  what an image must survive: ori, flh, flv, bri:0.1, gam:1.3, crop:0.8, rot:30,
             rot:-10..10, jpeg:75, sometimes(flh,0.8), joined by '+'; or wang2021:deterministic
             or wang2021:stochastic for the seven of that paper
  --strategy  max, trades, msd, mma, ... ('hauberk train --help'), or file.py:name of your own

exit codes: 0 done; 2 bad input (one line says what to do); 1 anything else
'hauberk COMMAND --help' lists a command's options.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        print(f"hauberk: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except TrainingError as error:
        print(f"hauberk: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hauberk: interrupted; finished parts are kept: go on with --resume", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def entry() -> None:
    """The console script."""
    sys.exit(main())


def _run(argv: list[str]) -> int:
    from hauberk.cli import evaluate as commands
    from hauberk.cli import minmax as commands_minmax
    from hauberk.cli import radius as commands_radius
    from hauberk.cli import train as commands_train

    if not argv or argv[0] in ("-h", "--help"):
        print(ABOUT, end="")
        return 0
    args = _parse(argv)
    if args.command == "evaluate":
        return commands.evaluate(args.evaluate)
    if args.command == "verify":
        return commands.verify(args.verify)
    if args.command == "radius":
        return commands_radius.radius(args.radius)
    if args.command == "patterns":
        return commands_radius.patterns(args.patterns)
    if args.command == "minmax":
        return commands_minmax.minmax(args.minmax)
    if args.command == "train":
        return commands_train.train(args.train, argv)
    return commands.demo(args.demo)


def _parse(argv: list[str]) -> Any:
    from argparse import ArgumentError

    try:
        return _outdone(argv, _parser().parse_args(argv))
    except (ArgumentError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{text}; 'hauberk --help' shows the words") from error


def _outdone(argv: list[str], args: Any) -> Any:
    """The options, where a list on the command line takes the place of the configuration's."""
    words = [word.partition("=")[0][2:].replace("-", "_") for word in argv if word[:2] == "--"]
    options = args.get(args.command) if args.command and "config" in words else None
    for name in set(words):
        if options is not None and isinstance(options.get(name), list) and name != "box":
            # It was appended to.
            options[name] = options[name][-words.count(name) :]
    return args


def _parser() -> Any:
    from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]

    from hauberk.__about__ import __version__
    from hauberk.cli.train_options import add_words

    parser = ArgumentParser(prog="hauberk", exit_on_error=False)
    parser.add_argument("--version", action="version", version=f"hauberk {__version__}")
    commands = parser.add_subcommands(required=False, dest="command")

    evaluate = ArgumentParser(
        description="Attack a model under every threat and report what stands.",
        exit_on_error=False,
    )
    evaluate.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    _model_words(evaluate)
    evaluate.add_argument(
        "--threat",
        action="append",
        help="linf:8/255, l2:0.5, l1:12, l0:10, l1.5:3, rt:30,3, affine(linf:0.3,l1:10); repeat",
    )
    evaluate.add_argument("--suite", type=str, default="standard", help="a name or a .yaml file")
    evaluate.add_argument("--list-suites", action="store_true", help="print the suites and stop")
    evaluate.add_argument("--seed", type=int, default=0, help="of all random numbers")
    evaluate.add_argument(
        "--box", type=float, nargs=2, default=[0.0, 1.0], help="valid range: LO HI"
    )
    evaluate.add_argument("--out", type=str, default=None, help="folder for the ledger")
    evaluate.add_argument("--resume", action="store_true", help="continue the run in --out")
    evaluate.add_argument(
        "--union-only", action="store_true",
        help="attack a broken point no further: cheaper; accuracies per threat are upper bounds",
    )  # fmt: skip
    evaluate.add_argument(
        "--all-attacks", action="store_true", help="run every attack on all points"
    )
    evaluate.add_argument("--dry-run", action="store_true", help="print the cost and stop")
    commands.add_subcommand("evaluate", evaluate, help="attack a model under several threats")

    radius = ArgumentParser(
        description="Find the least perturbation of every example that fools the model.",
        exit_on_error=False,
    )
    radius.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    _model_words(radius)
    radius.add_argument("--metric", action="append", help="linf, l2, l1, l0 or lP; repeat")
    radius.add_argument(
        "--threat",
        action="append",
        help="balls such as linf:0.3: the radius of their union; repeat",
    )
    radius.add_argument("--budget", type=int, default=2000, help="passes per example and metric")
    radius.add_argument("--solver", type=str, default="best", help="a name; best by default")
    radius.add_argument(
        "--soften", type=float, default=None, help="width of softened gradients; the solver's own"
    )
    radius.add_argument(
        "--eps", action="append", help="size to tell the accuracy at: 0.1, 8/255 or l2:0.5; repeat"
    )
    radius.add_argument("--seed", type=int, default=0, help="of all random numbers")
    radius.add_argument("--box", type=float, nargs=2, default=[0.0, 1.0], help="valid range: LO HI")
    radius.add_argument("--out", type=str, default=None, help="folder for ledger, table and plots")
    radius.add_argument("--resume", action="store_true", help="continue the run in --out")
    radius.add_argument("--dry-run", action="store_true", help="print the cost and stop")
    commands.add_subcommand("radius", radius, help="find each example's least perturbation")

    patterns = ArgumentParser(
        description="Draw what the perturbations of several solvers look like.",
        exit_on_error=False,
    )
    _model_words(patterns)
    patterns.add_argument(
        "--solver",
        action="append",
        help="a radius solver, such as fab; repeat; else a ladder of PGD",
    )
    patterns.add_argument("--budget", type=int, default=500, help="passes per example and solver")
    patterns.add_argument(
        "--eps", action="append", help="size of problem 1: linf:0.3, l2:2 or l1:10; repeat"
    )
    patterns.add_argument("--seed", type=int, default=0, help="of all random numbers")
    patterns.add_argument(
        "--box", type=float, nargs=2, default=[0.0, 1.0], help="valid range: LO HI"
    )
    patterns.add_argument("--out", type=str, default=None, help="folder for the pictures")
    commands.add_subcommand("patterns", patterns, help="draw what perturbations look like")

    minmax = ArgumentParser(
        description="Fool several models or transformations by one perturbation (min-max).",
        exit_on_error=False,
    )
    minmax.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    _model_words(minmax, several=True)
    _minmax_words(minmax)
    commands.add_subcommand("minmax", minmax, help="one perturbation against several domains")

    verify = ArgumentParser(
        description="Judge the points of a run again, from disk.", exit_on_error=False
    )
    verify.add_argument("run", type=str, help="the run's folder")
    _model_words(verify)
    commands.add_subcommand("verify", verify, help="judge a run's points again")

    train = ArgumentParser(
        description="Train a model that resists several threats at once.", exit_on_error=False
    )
    train.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    _model_words(train, sized=False)
    add_words(train)
    commands.add_subcommand("train", train, help="train a model against several threats")

    demo = ArgumentParser(
        description="Train and compare two small models on embedded data.", exit_on_error=False
    )
    demo.add_argument("--out", type=str, default="runs/demo", help="folder for the results")
    demo.add_argument("--seed", type=int, default=0, help="of all random numbers")
    commands.add_subcommand("demo", demo, help="train and compare two small models")
    return parser


def _model_words(parser: Any, several: bool = False, sized: bool = True) -> None:
    """The words for model and data, alike in all commands."""
    many: dict[str, Any] = {"action": "append"} if several else {"type": str}
    more = "; repeat" if several else ""
    parser.add_argument(
        "--model", help=f"package.module:name, file.py:name or RUN/model.yaml{more}", **many
    )
    parser.add_argument("--weights", default=None, help=f"state dict to load{more}", **many)
    parser.add_argument("--data", type=str, default=None, help="e.g. mnist:test, npz:FILE")
    parser.add_argument("--data-dir", type=str, default=None, help="folder of the data files")
    parser.add_argument("--limit", type=int, default=None, help="use so many examples")
    parser.add_argument("--offset", type=int, default=0, help="skip so many examples first")
    parser.add_argument("--device", type=str, default=None, help="cpu, cuda, cuda:1, ...")
    if sized:
        parser.add_argument("--batch-size", type=int, default=None, help="chosen if left out")


def _minmax_words(parser: Any) -> None:
    parser.add_argument("--name", action="append", help="names of the models, in order; repeat")
    parser.add_argument(
        "--threat", action="append", help="linf:8/255, l2:0.5, ...; repeat for one point in each"
    )
    parser.add_argument(
        "--transform", action="append", help="rot:30, flh, wang2021:stochastic, ...; repeat"
    )
    parser.add_argument("--group", type=int, default=None, help="images that share a perturbation")
    parser.add_argument("--by-class", action="store_true", help="groups of one class each")
    parser.add_argument("--gamma", default="3", help="pull towards equal weights, 0 to inf")
    parser.add_argument("--beta", default="1/50", help="step of the weights, 0 to inf")
    parser.add_argument(
        "--attack", type=str, default=None, help="pgd, apgd, momentum or msd; chosen if left out"
    )
    parser.add_argument("--steps", type=int, default=50, help="of the attack")
    parser.add_argument("--step-size", default=None, help="in the threat's unit: 0.01, 2/255")
    parser.add_argument("--rule", type=str, default=None, help="steepest or gradient")
    parser.add_argument("--loss", type=str, default="cw", help="cw, margin, ce, ... of each domain")
    parser.add_argument(
        "--random-start", type=bool, default=None, help="true or false; the attack's own"
    )
    parser.add_argument("--draws", type=int, default=1, help="passes for a random transform")
    parser.add_argument("--judge-draws", type=int, default=10, help="fresh draws that decide")
    parser.add_argument(
        "--all-steps", action="store_true", help="every example costs the same: none leaves early"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
    parser.add_argument("--box", type=float, nargs=2, default=[0.0, 1.0], help="valid range: LO HI")
    parser.add_argument("--out", type=str, default=None, help="folder for ledger, table and plots")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--dry-run", action="store_true", help="print the cost and stop")


def _show_warning(message: Any, category: Any, *_: Any, **__: Any) -> None:
    text = " ".join(str(message).split())
    if issubclass(category, HauberkWarning):
        print(f"hauberk: warning: {text}", file=sys.stderr)
