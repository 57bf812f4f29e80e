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
from hauberk.spec.build import did_you_mean
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
        prog=f"hauberk {name}", description=about, exit_on_error=False, formatter_class=_Help,
        allow_abbrev=False,  # a value of an abbreviation would not replace that of the YAML file
    )  # fmt: skip
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    for action in parser._actions:
        if "--print_config" in action.option_strings:
            action.help = "print the options as a YAML file for --config, and stop"
    # Values such as -inf, -1/3 and -1,0,1 are no options.
    parser._negative_number_matcher = re.compile(r"-(\.?\d|inf)")
    declared = list(kind.declared())
    for each in declared:
        _add(parser, each)
    try:
        found = parser.parse_args(_together(argv, declared))
        values = {each.name: _value(each, found[each.name]) for each in declared}
    except (ArgumentError, TypeError, ValueError) as error:
        text = _in_words(" ".join(str(error).split()), declared)
        end = "" if text.endswith("?") else ";"
        raise InputError(f"{text}{end} 'hauberk {name} --help' shows the options") from error
    return kind.of(values, (name, *argv))


def _together(argv: Sequence[str], declared: Sequence[Declared]) -> list[str]:
    """The words, where numbers that follow each other after ``--mean`` are one word."""
    several = {_word(option.name) for option in declared if option.numbers}
    found: list[str] = []
    for word in argv:
        before = found[-2] if len(found) > 1 else ""
        if before in several and number(word) is not None and _are_numbers(found[-1]):
            found[-1] += f",{word}"
        else:
            found.append(word)
    return found


def _are_numbers(text: str) -> bool:
    return all(number(part) is not None for part in text.split(","))


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


def _in_words(text: str, declared: Sequence[Declared]) -> str:
    """A message of the parser, in words that say what to give."""
    options = {option.name: option for option in declared}
    if found := re.match(r'Parser key "(\w+)"(?: element \d+)?: (.*)', text):
        name, why = found.groups()
        option = options.get(name)
        value = re.search(r"(?:Got value:|but got|value) (\S+)$", why)
        if option is None:
            gone = re.search(r"'([^']*)'", why)
            return f"--{name} is {gone[1]}: give a YAML file that can be read" if gone else text
        shown = _shown(option)
        if value is None:
            return f"{shown} cannot be read: give {_wanted(option)}"
        return f"{shown} is {value[1]}: give {_wanted(option)}"
    if found := re.match(r"argument (--[\w-]+): expected (?:one|\d+) arguments?", text):
        option = next(o for o in declared if _word(o.name) == found[1])
        return f"{found[1]} needs {_wanted(option)}"
    if found := re.match(r"argument (--[\w-]+): ignored explicit argument '(.*)'", text):
        return f"{found[1]} takes no value: leave {found[2]} out"
    if found := re.match(r"unrecognized arguments: (.*)", text):
        name = found[1].split("=")[0].split()[0]
        words = [_word(option.name) for option in declared if not option.positional]
        begun = [word for word in words if len(name) > 2 and word.startswith(name)]
        meant = f"; write {' or '.join(begun)} in full" if begun else did_you_mean(name, words)
        return f"unknown option {found[1]}{meant}"
    if found := re.match(r"Option '(.*)' is not accepted", text):
        return f"unknown option {found[1]} in the file{did_you_mean(found[1], options)}"
    if found := re.match(r"Problems parsing config: (.*)", text):
        return "the file is no YAML: " + found[1].replace(' in "<unicode string>",', ",")
    if found := re.match(r"the following arguments are required: (.*)", text):
        return f"no {found[1]}: give it after the command"
    return text


def _shown(option: Declared) -> str:
    return option.name if option.positional else _word(option.name)


def _wanted(option: Declared) -> str:
    """What to write for an option, in words."""
    hint = _without_none(option.type)
    if get_origin(hint) is tuple:
        return f"{len(get_args(hint))} numbers"
    known = {int: "a whole number", float: "a number", bool: "true or false"}
    return known.get(hint, "text")


def _add(parser: Any, option: Declared) -> None:
    word = option.name if option.positional else _word(option.name)
    # jsonargparse checks values of a pair in place.
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    shared = {"help": option.help} | ({} if option.positional else {"default": default})
    hint = _without_none(option.type)
    if option.type is bool:
        parser.add_argument(word, action="store_true", **shared)
    elif get_origin(hint) is list and option.positional:
        parser.add_argument(word, nargs="+", type=str, **shared)
    elif get_origin(hint) is list:
        parser.add_argument(word, action=_Repeated, **shared)
    elif option.numbers:
        parser.add_argument(word, type=float | list | str, **shared)
    elif hint is float:
        parser.add_argument(word, type=float | str, **shared)
    elif get_origin(hint) is tuple:
        parts = get_args(hint)
        parser.add_argument(word, type=float | str | list, nargs=len(parts), **shared)
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
    if option.type is bool and not isinstance(found, bool | None):
        raise ValueError(f"{_word(option.name)} is {found}: give true or false")
    if option.numbers and found is not None:
        several = get_origin(hint) is list
        if several and isinstance(found, list) and not all(type(v) in (int, float) for v in found):
            return [_numbers_text(each) for each in found]
        text = _numbers_text(found)
        return text if not several else [text] if text else []
    if get_origin(hint) is list:
        return [found] if isinstance(found, str) else [str(each) for each in found or ()]
    if hint is float and found is not None:
        value = number(str(found))
        if value is None:
            raise ValueError(
                f"{_word(option.name)} is '{found}': give a number or a fraction, e.g. 0.02 or 1/50"
            )
        return value
    if get_origin(hint) is tuple and found is not None:
        return tuple(_part(option, each) for each in found)
    return found


def _numbers_text(found: Any) -> str:
    """Text as it is; a list of numbers, or one, with commas between."""
    return ",".join(map(str, found)) if isinstance(found, list | tuple) else str(found)


def _part(option: Declared, found: Any) -> Any:
    """One of a pair: a number, or text where the field takes that.

    Raises:
        ValueError: for anything else.
    """
    text = _numbers_text(found)
    value = number(text)
    if value is None and str not in get_args(get_args(_without_none(option.type))[0]):
        raise ValueError(f"{_word(option.name)} is {text}: give {_wanted(option)}")
    return text if value is None else value


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
