"""The output folder: written at once, resumed, and refused where it is another run's."""

import json

import pytest

from memagent.errors import InputError, JournalError
from memagent.evaluation.folder import ResultFolder
from memagent.evaluation.outcome import Outcome, Peak
from memagent.evaluation.recipe import Recipe

RECIPE = Recipe(suite="ruler")


def outcome(index=0, **changes):
    given = {
        "problem": f"p{index}", "index": index, "task": "vt", "metric": "ruler_all", "method": "gated",
        "length": 8192, "label": "8k", "status": "answered", "question": "?", "references": ("A", "B"),
        "reply": "A\u2028B", "answer": "A", "score": 0.5,
    }  # fmt: skip
    return Outcome(**{**given, **changes})


def test_results_are_on_disk_at_once_and_found_again(tmp_path):
    with ResultFolder.open(tmp_path / "out", RECIPE, resume=False) as folder:
        folder.begin({})
        folder.add(outcome(0))
        lines = (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8").split("\n")
        assert json.loads(lines[0])["problem"] == "p0"
        folder.add_peak(Peak(method="gated", length=8192, resident=5))
        folder.add_peak(Peak(method="gated", length=8192, resident=3, gpu=2))
    with ResultFolder.open(tmp_path / "out", RECIPE, resume=True) as again:
        assert again.outcomes == [outcome(0)]
        assert list(again.peaks.values()) == [Peak(method="gated", length=8192, resident=5, gpu=2)]


def test_a_torn_line_is_dropped(tmp_path):
    with ResultFolder.open(tmp_path, RECIPE, resume=False) as folder:
        folder.begin({})
        folder.add(outcome(0))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"problem": "p1", "ind')
    with ResultFolder.open(tmp_path, RECIPE, resume=True) as folder:
        assert [one.problem for one in folder.outcomes] == ["p0"]
        folder.add(outcome(1))
    with ResultFolder.open(tmp_path, RECIPE, resume=True) as folder:
        assert [one.problem for one in folder.outcomes] == ["p0", "p1"]


@pytest.mark.parametrize(
    ("recipe", "resume", "says"),
    [(RECIPE, False, "--resume"), (Recipe(suite="ruler", seed=2), True, "another --seed")],
)
def test_a_folder_of_another_run(recipe, resume, says, tmp_path):
    with ResultFolder.open(tmp_path, RECIPE, resume=False) as folder:
        folder.begin({})
    with pytest.raises(InputError, match=says), ResultFolder.open(tmp_path, recipe, resume=resume):
        pass


def test_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="not empty"), ResultFolder.open(tmp_path, RECIPE, resume=True):
        pass
    with (
        pytest.raises(InputError, match="not empty"),
        ResultFolder.open(tmp_path / "thesis.tex", RECIPE, resume=False),
    ):
        pass


def test_malformed_results_name_their_line(tmp_path):
    with ResultFolder.open(tmp_path, RECIPE, resume=False) as folder:
        folder.begin({})
        folder.add(outcome(0))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"problem": "p1"}\n')
    with pytest.raises(InputError, match=r"results.jsonl:2"), ResultFolder.open(tmp_path, RECIPE, resume=True):
        pass


def test_two_processes_do_not_share_a_folder(tmp_path):
    with (
        ResultFolder.open(tmp_path, RECIPE, resume=False),
        pytest.raises(JournalError, match="another process"),
        ResultFolder.open(tmp_path, RECIPE, resume=True),
    ):
        pass


def test_what_never_began_leaves_nothing(tmp_path):
    for path in (tmp_path / "new", tmp_path / "empty"):
        if path.name == "empty":
            path.mkdir()
        with pytest.raises(ValueError, match="mistyped"), ResultFolder.open(path, RECIPE, resume=False):
            raise ValueError("mistyped")
        assert path.exists() == (path.name == "empty") and not list(path.glob("*"))
        with ResultFolder.open(path, Recipe(suite="ruler", seed=5), resume=False) as folder:
            folder.begin({})


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    with ResultFolder.open(tmp_path, RECIPE, resume=False) as folder:
        folder.begin({"a.jsonl": "1", "b.txt": "2"})
    with ResultFolder.open(tmp_path, RECIPE, resume=True) as folder:
        folder.begin({"b.txt": "2", "a.jsonl": "1"})
        for other in ({"a.jsonl": "9", "b.txt": "2"}, {"b.txt": "2"}, {"a.jsonl": "1", "b.txt": "2", "c": "3"}):
            with pytest.raises(InputError, match=r"(a.jsonl|c) has changed since"):
                folder.begin(other)


def test_half_a_surrogate_pair_is_kept(tmp_path):
    with ResultFolder.open(tmp_path, RECIPE, resume=False) as folder:
        folder.begin({})
        folder.add(outcome(reply="a \ud800 b"))
    with ResultFolder.open(tmp_path, RECIPE, resume=True) as folder:
        assert folder.outcomes == [outcome(reply="a \ud800 b")]


def test_damaged_files_are_one_line(tmp_path):
    with ResultFolder.open(tmp_path, RECIPE, resume=False) as folder:
        folder.begin({})
    (tmp_path / "peaks.json").write_text("[")
    with pytest.raises(InputError, match=r"peaks.json is damaged"), ResultFolder.open(tmp_path, RECIPE, resume=True):
        pass


def test_results_that_cannot_be_written_stop_the_run(tmp_path):
    with ResultFolder.open(tmp_path, RECIPE, resume=False) as folder:
        folder.begin({})
        (tmp_path / "results.jsonl").mkdir()
        with pytest.raises(JournalError, match=r"results.jsonl cannot be written .*resume"):
            folder.add(outcome(0))
        assert folder.outcomes == []
        (tmp_path / "results.jsonl").rmdir()
