"""Options are fields: what the parser, YAML files and help make of them, and a new command."""

from dataclasses import dataclass

import pytest

from hauberk.cli.main import main
from hauberk.cli.options import Command, option
from hauberk.cli.parsing import in_options, parse
from hauberk.errors import InputError
from hauberk.train.settings import command_line_fields


@dataclass(frozen=True, kw_only=True)
class ToyCommand(Command):
    """All kinds of options."""

    name: str = option("", "whom to greet", positional=True)
    times: int = option(1, "how often")
    limit: int | None = option(None, "at most so many")
    scale: float = option(1 / 2, "a number")
    loud: bool = option(False, "in capitals")
    maybe: bool | None = option(None, "true or false")
    word: list[str] = option([], "a word; repeat")
    box: tuple[float, float] = option((0.0, 1.0), "LO HI")

    def run(self):
        for _ in range(self.times):
            print(f"hello {self.name}".upper() if self.loud else f"hello {self.name}")
        return 0


def toy(*argv):
    return parse(ToyCommand, "toy", "greet", argv)


def test_defaults_are_those_of_the_fields():
    assert toy("you") == ToyCommand(name="you", argv=("toy", "you"))


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--times", "3"], "times", 3),
        (["--limit=5"], "limit", 5),
        (["--scale", "8/255"], "scale", 8 / 255),
        (["--loud"], "loud", True),
        (["--maybe", "false"], "maybe", False),
        (["--word", "a", "--word", "b"], "word", ["a", "b"]),
        (["--box", "-1", "2"], "box", (-1.0, 2.0)),
    ],
)
def test_every_kind_of_option(argv, name, value):
    assert getattr(toy("you", *argv), name) == value


def test_a_yaml_file_has_the_same_options(tmp_path):
    file = tmp_path / "toy.yaml"
    file.write_text(
        "times: 2\nscale: 0.25\nloud: true\nmaybe: true\nword: one\nbox: [0, 255]\nlimit: null\n"
    )
    made = toy("you", "--config", str(file))
    assert (made.times, made.scale, made.loud, made.maybe) == (2, 0.25, True, True)
    assert (made.word, made.box, made.limit) == (["one"], (0.0, 255.0), None)
    assert toy("you", "--config", str(file), "--times", "4").times == 4


@pytest.mark.parametrize("words", ["word: [a, b]", "word: [1, b]"])
def test_a_list_on_the_command_line_replaces_the_files(tmp_path, words):
    file = tmp_path / "toy.yaml"
    file.write_text(words)
    assert len(toy("you", "--config", str(file)).word) == 2
    assert toy("you", "--config", str(file), "--word", "c", "--word=d").word == ["c", "d"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name"),
        (["you", "--times", "many"], "--times is many: give a whole number; "),
        (["you", "--times", "1.5"], "--times is 1.5: give a whole number; "),
        (["you", "--times"], "--times needs a whole number; "),
        (["you", "--maybe", "perhaps"], "--maybe is perhaps: give true or false; "),
        (["you", "--loud=yes"], "--loud takes no value: leave yes out; "),
        (["you", "--scale", "1/0"], "--scale is '1/0': give a number"),
        (["you", "--box", "1"], "--box needs 2 numbers; "),
        (["you", "--box", "1", "b"], "--box is b: give 2 numbers; "),
        (["you", "--tmies", "1"], "unknown option --tmies 1; did you mean --times? "),
        (["you", "--config", "gone.yaml"], "gone.yaml"),
    ],
)
def test_refusals_are_one_line_and_name_the_option(argv, message):
    with pytest.raises(InputError, match="'hauberk toy --help' shows the options") as caught:
        toy(*argv)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("times: many", "--times is many: give a whole number; "),
        ("loud: maybe", "--loud is maybe: give true or false; "),
        ("box: [1, b]", "--box is b: give 2 numbers; "),
        ("tmies: 1", "unknown option tmies in the file; did you mean times? "),
        ("times: [1", "the file is no YAML: "),
    ],
)
def test_refusals_of_a_file_name_the_option(tmp_path, text, message):
    file = tmp_path / "toy.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        toy("you", "--config", str(file))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("times is 0: give 1", "--times is 0: give 1"),
        ("a box is too small", "a box is too small"),
        ("box continues it: give scale= (times=3)", "--box continues it: give --scale (--times 3)"),
        ("loud_voice is no option", "--loud-voice is no option"),
        ("own.loud_voice(x) of PGD(times=3)", "own.loud_voice(x) of PGD(times=3)"),
    ],
)
def test_messages_name_the_options(text, words):
    @dataclass(frozen=True, kw_only=True)
    class LoudCommand(ToyCommand):
        loud_voice: bool = option(False, "louder")

    assert in_options(text, LoudCommand) == words


def test_every_setting_of_training_is_an_option(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    for field in command_line_fields():
        assert f"--{field.replace('_', '-')}" in shown


def test_options_are_not_abbreviated(tmp_path):
    """Else a value on the command line would stand beside that of the YAML file, not replace it."""
    (tmp_path / "run.yaml").write_text("word: [one]\n")
    config = ["--config", str(tmp_path / "run.yaml"), "you"]
    for words in (["you", "--wor", "two"], ["you", "--wor=two"], [*config, "--wor", "two"]):
        with pytest.raises(InputError, match=r"unknown option --wor.*; write --word in full"):
            parse(ToyCommand, "toy", "greet", words)
    with pytest.raises(InputError, match="--l 3; write --limit or --loud in full"):
        parse(ToyCommand, "toy", "greet", ["you", "--l", "3"])
    assert parse(ToyCommand, "toy", "greet", [*config, "--word", "two"]).word == ["two"]
