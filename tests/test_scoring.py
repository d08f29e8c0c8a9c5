import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scoring_cases import CASES, NAMES

from memagent.errors import OptionError
from memagent.scoring import METRICS, final_answer, metric_named, scores

# Any text at all, and texts of the pieces that metrics look for.
PIECES = [r"\boxed", r"\boxed ", r"\fbox", "{", "}", "the answer is", "</think>", "*", "$", ".", " ", "\n", "the", "a",
          "yes", "12", "é", "北京", "\ud800", "\\", r"\text{", r"\frac"]  # fmt: skip
TEXTS = st.text(st.characters(categories=None), max_size=30) | st.lists(st.sampled_from(PIECES)).map("".join)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.why)
def test_hard_cases(case):
    found = tuple(METRICS[name](case.reply, case.references) for name in NAMES)
    assert dict(zip(NAMES, found, strict=True)) == pytest.approx(dict(zip(NAMES, case.scores, strict=True)))


def test_the_table_is_long_and_each_metric_both_rises_and_falls_in_it():
    assert len({case.why for case in CASES}) == len(CASES) >= 40
    for column in zip(*(case.scores for case in CASES), strict=True):
        assert {0, 1} <= set(column)


def test_the_page_on_scoring_shows_what_is_so():
    text = (Path(__file__).parents[1] / "docs" / "scoring.md").read_text(encoding="utf-8")
    names, rows = text.partition("| what is hard | reply | accepted | ")[2].split("\n", 1)
    assert tuple(names.strip(" |").split(" | ")) == NAMES
    shown = [row for row in rows.partition("\n\n")[0].splitlines() if not row.startswith("|---")]
    assert len(shown) > 20 and set(shown) <= {case.row for case in CASES}
    for name in METRICS:
        assert f"| `{name}` |" in text and f"**`{name}`**" in text


@pytest.mark.parametrize("name", [name for name in METRICS if name != "rouge_l"])
@settings(deadline=None)
@given(reply=TEXTS, references=st.lists(TEXTS, max_size=4))
def test_metrics_give_a_score_for_any_text(name, reply, references):
    assert 0.0 <= METRICS[name](reply, references) <= 1.0


@settings(deadline=None)
@given(reply=TEXTS, references=st.lists(TEXTS, max_size=3))
def test_rouge_gives_a_score_for_any_text(reply, references):
    assert 0.0 <= METRICS["rouge_l"](reply, references) <= 1.0


@settings(deadline=None)
@given(reply=TEXTS, references=st.lists(TEXTS, min_size=1, max_size=4))
def test_strict_metrics_agree_with_each_other(reply, references):
    exact, f1, contains = (METRICS[name](reply, references) for name in ("em", "f1", "contains"))
    assert exact <= f1 + 1e-9
    assert exact <= contains
    assert contains <= 1.0


@settings(deadline=None)
@given(references=st.lists(TEXTS, min_size=1, max_size=4))
def test_an_empty_reply_is_right_only_where_an_empty_string_is_asked_for(references):
    for name, metric in METRICS.items():
        allowed = 1.0 if name.startswith("ruler") and "" in references else 0.0
        assert metric("", references) <= allowed


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (r"so \boxed{ Paris } it is", "Paris"),
        (r"\boxed{\boxed{Paris}}", "Paris"),
        (r"{ \boxed{Paris}", "Paris"),
        (r"\boxed{{a} b} } {", "{a} b"),
        (r"\boxed{\textbf{\text{R\&D}}}", "R&D"),
        ("Therefore, the answer is: “Paris”.", "Paris"),
        ("the answer is\nParis", "Paris"),
        ("The Answer Is yes. Both are.", "yes"),
        ("the answer is 1999. It was", "1999"),
        ("the answer is 3.14", "3.14"),
        ("the answer is Dr. No! Surely", "Dr. No"),
        ("the answer is the U.S. Army", "the U.S. Army"),
        ("the answer is “Who is afraid?” they say", "Who is afraid?” they say"),
        ("the answer isn't known", "the answer isn't known"),
        ("the answer is", ""),
        ("  Paris\n", "Paris"),
    ],
)
def test_final_answer(reply, answer):
    assert final_answer(reply) == answer


def test_many_open_boxes_take_linear_time():
    # Searching the end of each box anew would take hours.
    assert final_answer(r"\boxed{x} " + r"\boxed{" * 200_000) == "x"


@pytest.mark.parametrize(
    ("reply", "references", "score"),
    [
        ("the cats sat", ["a cat sat"], 2 / 3),  # two of three words in order, stemmed
        ("sat cat the", ["the cat sat"], 1 / 3),  # the order counts
        (r"thoughts first: \boxed{the cat sat}", ["nothing", "the cat sat"], 1.0),  # the box, the best reference
        ("the answer is one. And two.", ["The answer is one, and two"], 1.0),  # a summary is not cut at a sentence
        ("北京", ["北京"], 0.0),  # the library knows ASCII only
        ("", [], 0.0),
    ],
)
def test_rouge(reply, references, score):
    assert METRICS["rouge_l"](reply, references) == pytest.approx(score)


def test_rouge_without_its_library(monkeypatch):
    from memagent.errors import SetupError
    from memagent.scoring import strict

    strict._rouge.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(SetupError, match=r"pip install 'memagent\[eval\]'"):
        METRICS["rouge_l"]("x", ["x"])


@pytest.mark.parametrize(
    ("main", "names"),
    [
        ("sub_em", ["sub_em", "reward_boxed", "em", "f1", "contains"]),
        ("em", ["em", "reward_boxed", "sub_em", "f1", "contains"]),
        ("ruler_all", ["ruler_all", "multi_value"]),
        ("ruler_part", ["ruler_part", "reward_boxed", "sub_em", "em", "f1", "contains"]),
        ("rouge_l", ["rouge_l", "f1"]),
    ],
)
def test_scores_tell_what_makes_sense_beside_the_main_one(main, names):
    found = scores(r"\boxed{Paris}", ["Paris"], main)
    assert list(found) == names
    assert set(found.values()) == {1.0}


@pytest.fixture
def own(monkeypatch, tmp_path):
    """A module of the user's in the current folder; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    lines = [
        "calls = []",
        "half = lambda reply, references: 0.5",
        "truth = lambda reply, references: reply in references",
        "broken = lambda reply, references: 1 / 0",
        "high = lambda reply, references: 2",
        "no_number = lambda reply, references: None",
        "nan = lambda reply, references: float('nan')",
        "quits = lambda reply, references: __import__('sys').exit(1)",
        "one_argument = lambda reply: 1",
        "class Judge:",
        "    @staticmethod",
        "    def score(reply, references): return len(references) / 4",
    ]
    (tmp_path / "own_metric.py").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "own_broken.py").write_text("raise SystemExit('no')", encoding="utf-8")
    before = list(sys.path)
    yield
    for name in ("own_metric", "own_broken"):
        sys.modules.pop(name, None)
    assert sys.path == before
    from memagent.scoring import hooks

    hooks.hook.cache_clear()


@pytest.mark.parametrize(("name", "score"), [("half", 0.5), ("truth", 1.0), ("Judge.score", 0.25)])
def test_a_metric_of_ones_own(own, name, score):
    assert metric_named(f"own_metric:{name}")("x", ["x"]) == score
    assert scores("x", ["x"], f"own_metric:{name}")[f"own_metric:{name}"] == score


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exact", "there is no metric exact: take reward_boxed, sub_em"),
        ("own_metric:calls", "is no function but of type list"),
        ("own_metric:missing", "cannot be imported: AttributeError"),
        ("own_missing:half", "cannot be imported: ModuleNotFoundError"),
        ("own_broken:half", "cannot be imported: SystemExit: no"),
        (":half", "cannot be imported: ValueError"),
        ("own_metric:", "cannot be imported: AttributeError"),
    ],
)
def test_metrics_that_do_not_exist(own, name, message):
    with pytest.raises(OptionError) as caught:
        metric_named(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "failed: ZeroDivisionError"),
        ("one_argument", "failed: TypeError"),
        ("no_number", "failed: TypeError"),
        ("high", "gave 2: a score is a number from 0 to 1"),
        ("nan", "gave nan"),
        ("quits", "failed: SystemExit: 1"),
    ],
)
def test_metrics_of_ones_own_that_go_wrong(own, name, message):
    with pytest.raises(OptionError, match=message):
        scores("x", ["x"], f"own_metric:{name}")
