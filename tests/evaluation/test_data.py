"""Digests tell one set of data from another, by what stands in it."""

from pathlib import Path

import pytest

from memagent.errors import InputError
from memagent.evaluation import data
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.suites import Cell, Suite
from memagent.tasks.problem import Problem

NONE = Suite(())


def digests(recipe, suite, output="out"):
    return data.digests(recipe, suite, Path(output))


def suite(*files):
    problem = Problem(id="p", task="t", question="?", answers=("a",), metric="em", files=files)
    return Suite((Cell("t", 8192, "8k", 1, lambda index: problem),))


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "squad.json").write_text("squad")
    (tmp_path / "more.txt").write_text("more")
    (tmp_path / "mine.jsonl").write_text("mine")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "1.txt").write_text("one")
    return tmp_path


def test_every_named_file_counts(made):
    recipe = Recipe(suite="ruler", sources={"squad": "squad.json", "x": "hub:a/b"}, paragraphs="more.txt",
                    haystack="book")  # fmt: skip
    before = digests(recipe, NONE)
    assert set(before) == {"squad.json", "more.txt", "book"} and digests(recipe, NONE) == before
    for name in ("squad.json", "more.txt", "book/1.txt"):
        text = (made / name).read_text()
        (made / name).write_text(text.upper())
        changed = digests(recipe, NONE)
        assert [one for one in before if changed[one] != before[one]] == [name.partition("/")[0]]
        (made / name).write_text(text)


def test_a_file_of_problems_and_their_documents(made):
    recipe = Recipe(suite="mine.jsonl")
    before = digests(recipe, suite("book", "more.txt"))
    assert set(before) == {"mine.jsonl", "book", "more.txt"}
    (made / "book" / "2.txt").write_text("")
    assert digests(recipe, suite("book", "more.txt"))["book"] != before["book"]


def test_the_output_inside_a_source_does_not_count(made):
    recipe = Recipe(suite="code", sources={"code": "."})
    before = digests(recipe, NONE)
    for name in ("out/report.md", ".git/HEAD", "book/.cache"):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text("x")
    assert digests(recipe, NONE) == before != digests(recipe, NONE, "elsewhere")


@pytest.mark.parametrize("name", ["ruler", "report", "train"])
def test_what_lies_about_under_the_name_of_a_suite_is_not_its_data(name, made):
    (made / name).mkdir()
    assert digests(Recipe(suite="ruler", haystack="train" if name == "train" else "report"), NONE) == {}


def test_a_file_that_cannot_be_read(made, monkeypatch):
    def refused(self, *given):
        raise PermissionError(13, "Permission denied", "squad.json")

    monkeypatch.setattr("pathlib.Path.open", refused)
    with pytest.raises(InputError, match=r"squad\.json cannot be read: Permission denied"):
        digests(Recipe(suite="ruler", sources={"squad": "squad.json"}), NONE)
