"""From words to a command: parser, YAML and help are built from the fields of its dataclass.

``add_class_arguments`` of jsonargparse reads the same dataclasses, but writes flags as ``--dry_run
true``, pairs as ``--box [0,1]`` and lists as ``--threat+ a``. So each field is declared by itself.
"""

import re
import types
from argparse import SUPPRESS, Action, ArgumentError, HelpFormatter, Namespace
from collections.abc import Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]

from hauberk.cli.options import Command, Declared
from hauberk.errors import InputError
from hauberk.spec.numbers import number

C = TypeVar("C", bound=Command)


def parse(kind: type[C], name: str, about: str, argv: Sequence[str]) -> C:
    """The command that the words after its name describe.

    Args:
        kind: the class of the command.
        name: its name on the command line.
        about: what it does, for its help.
        argv: the words after its name.

    Raises:
        InputError: for words that are no options of it, and values of the wrong type.
    """
    about = f"{about[:1].upper()}{about[1:]}."
    parser = ArgumentParser(
        prog=f"hauberk {name}", description=about, exit_on_error=False, formatter_class=_Help
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    declared = list(kind.declared())
    for each in declared:
        _add(parser, each)
    try:
        found = parser.parse_args(list(argv))
        values = {each.name: _value(each, found[each.name]) for each in declared}
    except (ArgumentError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{text}; 'hauberk {name} --help' shows the options") from error
    return kind.of(values, (name, *argv))


def in_options(text: str, kind: type[Command]) -> str:
    """A message about arguments of the package's functions, in the options of a command.

    Args:
        text: the message; ``steps is`` at its start becomes ``--steps is``, ``group=5`` becomes
            ``--group 5``, and ``step_size`` becomes ``--step-size``.
        kind: the class of the command.
    """
    for name in (each.name for each in kind.declared()):
        word, given = _word(name), rf"(?:(?<= )|(?<= \()){name}="
        text = re.sub(rf"^{name}(?= is | continues )", word, text)
        text = re.sub(given, word, re.sub(rf"{given}(?=\w)", f"{word} ", text))
        if "_" in name:
            text = re.sub(rf"(?<![\w.]){name}\b", word, text)
    return text


def _add(parser: Any, option: Declared) -> None:
    word = option.name if option.positional else _word(option.name)
    # jsonargparse checks values of a pair in place.
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    shared = {"help": option.help} | ({} if option.positional else {"default": default})
    hint = _without_none(option.type)
    if option.type is bool:
        parser.add_argument(word, action="store_true", **shared)
    elif get_origin(hint) is list:
        parser.add_argument(word, action=_Repeated, **shared)
    elif hint is float:
        parser.add_argument(word, type=float | str, **shared)
    elif get_origin(hint) is tuple:
        parts = get_args(hint)
        parser.add_argument(word, type=parts[0], nargs=len(parts), **shared)
    else:
        parser.add_argument(word, type=hint, **shared)


def _word(name: str) -> str:
    return "--" + name.replace("_", "-")


def _value(option: Declared, found: Any) -> Any:
    """A value as its field has it: YAML may write lists and pairs in several ways.

    Raises:
        ValueError: for text that is no number, where one is wanted.
    """
    hint = _without_none(option.type)
    if get_origin(hint) is list:
        return [found] if isinstance(found, str) else [str(each) for each in found or ()]
    if hint is float and found is not None:
        value = number(str(found))
        if value is None:
            raise ValueError(
                f"{_word(option.name)} is '{found}': give a number or a fraction, e.g. 0.02 or 1/50"
            )
        return value
    return tuple(found) if get_origin(hint) is tuple and found is not None else found


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    parts = [part for part in get_args(hint) if part is not types.NoneType]
    return Union[tuple(parts)]  # noqa: UP007  # of one part it is the part


class _Help(HelpFormatter):
    """One line or two an option, with its default where that says something."""

    def _get_help_string(self, action: Action) -> str | None:
        default = action.default
        if default is None or default is False or default in ([], SUPPRESS):
            return action.help
        text = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        return f"{action.help} (default: {text})"


class _Repeated(Action):
    """A list of the values on the command line, which replaces that of the YAML file."""

    seen = False

    def __call__(
        self, parser: Any, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        before = getattr(namespace, self.dest) if self.seen else []
        setattr(namespace, self.dest, [*before, values])
        self.seen = True
