"""The pages of the papers: settings are those of the recipes and suites, and rows are kept."""

import json
import re
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "recipes" / "papers"
sys.path.insert(0, str(FOLDER))  # where the scripts themselves import from

import pages  # noqa: E402
import settings  # noqa: E402

PRINTED = {
    file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))
    for file in sorted((FOLDER / "printed").glob("*.yaml"))
}
OWNERS = [(name, owner) for name, file in PRINTED.items() for owner in file.get("settings", {})]


@pytest.mark.parametrize(("paper", "owner"), OWNERS)
class TestSettings:
    def test_are_as_printed_or_as_the_page_says(self, paper, owner):
        actual = settings.settings_of(owner)
        listed = settings.read({owner: PRINTED[paper]["settings"][owner]})
        wrong = {
            one.name: (one.expected, actual.get(one.name, "absent"))
            for one in listed
            if one.name not in actual or not one.holds(actual[one.name])
        }
        assert wrong == {}

    def test_are_listed_all(self, paper, owner):
        assert settings.to_list(owner) <= set(PRINTED[paper]["settings"][owner])

    def test_stand_on_the_page(self, paper, owner):
        page = (ROOT / "docs" / "papers" / f"{paper}.md").read_text(encoding="utf-8")
        for line in settings.text({owner: PRINTED[paper]["settings"][owner]})[4:]:
            assert line in page


FOLDERS = ["maini2020", "wang2021", "ding2020", "tramer2019", "liang2023"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recipe_of_a_paper_has_its_settings_listed(folder):
    if folder not in PRINTED:
        pytest.skip("its page is not there yet")
    listed = {owner for _, owner in OWNERS}
    for file in (ROOT / "recipes" / "train" / folder).glob("*.yaml"):
        assert f"recipe {folder}/{file.stem}" in listed


def test_a_changed_setting_is_seen(tmp_path, monkeypatch):
    (tmp_path / "a.yaml").write_text("strategy: {steps: 50, step: 0.08}\nsteps: 2\nseed: 1\n")
    monkeypatch.setitem(settings.FOLDERS, "recipe", tmp_path)
    assert settings.to_list("recipe a") == {"strategy.steps", "strategy.step", "steps"}
    rows = {"strategy.steps": 100, "strategy.step": {"printed": 0.8, "times": 10}, "steps": 2}
    actual = settings.settings_of("recipe a")
    holds = [one.holds(actual[one.name]) for one in settings.read({"recipe a": rows})]
    assert holds == [False, True, True]


def test_suites_list_what_is_not_a_default():
    wanted = settings.to_list("suite autoattack")
    assert {"apgd-ce.attack", "apgd-ce.steps", "apgd-ce.loss", "fab-t.solver.steps"} <= wanted
    assert "apgd-ce.gain" not in wanted


@pytest.fixture
def paper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = tmp_path / "recipes" / "papers" / "printed"
    printed.mkdir(parents=True)
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (printed / "toy.yaml").write_text(
        "title: A paper\nfigures: {Figure 1: a line}\n"
        "tables:\n  Table 1: {title: two rows, columns: [clean, all], rows:\n"
        "    {MAX: [98.6, 42.1], ABS: [99, null]}}\n"
    )
    options = Namespace(scale="small", data_dir="D", only=None, again=False, jobs=1)
    return pages.Paper("toy", "About it.", options)


def rows_of(asked):
    def row(run, name):
        asked.append(name)
        return {"clean": pages.share(0.5, 100), "all": pages.number(3.14159, 2)}

    return row


def test_a_page_shows_ours_beside_the_printed(paper, tmp_path):
    asked = []
    paper.table("Table 1", rows_of(asked), rows=["MAX"], differs="Ours is small.")
    paper.figure("Figure 1", lambda run, svg: svg.write_text("<svg/>") and "A note.")
    assert paper.run() == 0
    page = (tmp_path / "docs/papers/toy.md").read_text()
    assert "| MAX | 100 | 50 (40 to 60) · 98.6 | 3.14 · 42.1 |" in page
    assert "| ABS |  | – · 99 | – |" in page
    assert "Ours is small." in page
    assert "![Figure 1](toy/figure-1.svg)\n\nA note." in page
    assert (tmp_path / "docs/papers/toy/figure-1.svg").exists()


def test_rows_that_are_there_are_not_made_again(paper):
    asked = []
    paper.table("Table 1", rows_of(asked), rows=["MAX"])
    assert (paper.run(), paper.run(), asked) == (0, 0, ["MAX"])
    paper.options.again = True
    assert (paper.run(), asked) == (0, ["MAX", "MAX"])


def test_a_row_that_fails_leaves_the_others(paper, capsys):
    def row(run, name):
        if name == "MAX":
            raise RuntimeError("no model")
        return {"clean": "none"}

    paper.table("Table 1", row)
    assert paper.run() == 1
    assert "failed: Table 1, MAX" in capsys.readouterr().out
    kept = json.loads((paper.kept / "rows/table-1/abs.json").read_text())
    assert kept["found"] == {"clean": "none"}


def test_commands_are_shown_without_the_folder_of_the_data(paper, tmp_path, monkeypatch):
    seen = []

    class Pool:
        def submit(self, function, words):
            seen.append(words)
            out = Path(next(w for w in words if w.startswith("--out=")).removeprefix("--out="))
            out.mkdir(parents=True)
            (out / "summary.json").write_text('{"n": 3}')
            return Namespace(result=lambda: None)

    run = pages.Run(paper, Pool())
    assert run.hauberk("evaluate", "--limit=3", out="one") == {"n": 3}
    assert run.hauberk("evaluate", "--limit=3", out="one") == {"n": 3}
    assert len(seen) == 1
    expected = "hauberk evaluate --limit=3 --data-dir=DIR --out=runs/papers/small/toy/one"
    assert run.commands == [expected] * 2
    assert run.model("mnist-max") == "runs/papers/small/models/mnist-max"
    assert "small/mnist-max.yaml" in paper.trainings["mnist-max"]
    assert run.commands == [expected] * 2


def test_pictures_of_the_pages_are_small():
    for file in (ROOT / "docs" / "papers").glob("*/*"):
        assert file.stat().st_size <= 80_000, file


def test_pages_show_only_pictures_that_are_there():
    for page in (ROOT / "docs" / "papers").glob("*.md"):
        for name in re.findall(r"!\[.*?\]\((.*?)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / name).exists(), name
