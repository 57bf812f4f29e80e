"""The console: which commands there are, their help, and a new one."""

import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest

from hauberk.cli import main as console
from hauberk.cli.main import COMMANDS, main
from hauberk.cli.options import Command, option


@dataclass(frozen=True, kw_only=True)
class ToyCommand(Command):
    """A command that greets."""

    name: str = option("", "whom to greet", positional=True)
    times: int = option(1, "how often")
    loud: bool = option(False, "in capitals")
    box: tuple[float, float] = option((0.0, 1.0), "LO HI")

    def run(self):
        for _ in range(self.times):
            print(f"hello {self.name}".upper() if self.loud else f"hello {self.name}")
        return 0


def test_a_new_command_is_a_file_and_a_row(monkeypatch, capsys):
    module = ModuleType("hauberk.cli.toy")
    module.ToyCommand = ToyCommand
    monkeypatch.setitem(sys.modules, "hauberk.cli.toy", module)
    monkeypatch.setitem(console.COMMANDS, "toy", "greet somebody")
    assert main(["toy", "you", "--times", "2", "--loud"]) == 0
    assert capsys.readouterr().out == "HELLO YOU\n" * 2
    with pytest.raises(SystemExit) as ended:
        main(["toy", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "Greet somebody." in shown
    for line in ("--times TIMES", "how often (default: 1)", "--loud", "in capitals", "--box BOX"):
        assert line in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_every_option(name, capsys):
    assert f"  {name} " in console.ABOUT
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: hauberk {name}")
    assert max(map(len, shown.splitlines())) <= 100


def test_a_misspelt_command_is_found(capsys):
    assert main(["evalute"]) == 2
    assert "did you mean evaluate?" in capsys.readouterr().err


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hauberk ")


def test_help_does_not_load_torch():
    script = "import sys\nfrom hauberk.cli.main import main\nmain(['--help'])\n"
    script += "try:\n    main(['evaluate', '--help'])\nexcept SystemExit:\n    pass\n"
    script += "sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert run.returncode == 0
