import re

import pytest
from tests.tasks.made_up import RECORDS, check_length, dataset, documents, one_line, qmsum, write_lines

from memagent.errors import InputError, OptionError, SetupError
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.suites import QUESTIONS, check_suite, longest_prompt, open_suite
from memagent.models.scripted import WordTokenizer
from memagent.tasks import Problem, jsonl
from memagent.tasks.records import write
from memagent.tokens import ByteEstimate

WORDS = WordTokenizer()


def open_(suite, **given):
    return open_suite(Recipe(suite=str(suite), **given), WORDS)


def problems(suite):
    """All problems by the label of their length, in order."""
    found = {}
    for cell in suite.cells:
        found.setdefault(cell.label, []).extend(map(cell.build, range(cell.count)))
    return found


@pytest.mark.parametrize("suite", QUESTIONS)
def test_suites_of_questions_ask_the_same_at_every_length(tmp_path, suite):
    source = dataset(tmp_path, QUESTIONS[suite])
    given = {"sources": {QUESTIONS[suite]: source}, "split": "all", "samples": 4}
    in_tokens = problems(open_(suite, lengths=(4096, 2048), **given))
    assert list(in_tokens) == ["4k", "2k"]
    for label, tokens in (("4k", 4096), ("2k", 2048)):
        assert len(in_tokens[label]) == 4
        for problem in in_tokens[label]:
            check_length(problem, tokens, WORDS)
            assert problem.task == suite
    in_documents = problems(open_(suite, documents=(25, 40), **given))
    assert list(in_documents) == ["25 documents", "40 documents"]
    assert {len(documents(problem.context)) for problem in in_documents["40 documents"]} == {40}
    by_length = [[problem.question for problem in made] for made in (*in_tokens.values(), *in_documents.values())]
    assert by_length[0] == by_length[1] and by_length[2] == by_length[3]


def test_questions_that_do_not_fit_the_shortest_length_are_left_out_at_all(tmp_path):
    records = [RECORDS["hotpotqa"](number, paragraphs=3 + 2 * number) for number in range(10)]
    sources = {"hotpotqa": str(write_lines(tmp_path / "growing.jsonl", records))}
    suite = open_("ruler-hqa", documents=(40, 9), sources=sources, samples=8)
    assert [cell.count for cell in suite.cells] == [4, 4]
    assert suite.notes == (
        "hotpotqa: 6 of the first 10 left out, as they need more than 9 documents",
        "hotpotqa: there are 4 of 8 asked for",
    )
    large, small = problems(suite).values()
    assert [one.question for one in large] == [one.question for one in small]
    with pytest.raises(OptionError) as caught:
        open_("ruler-hqa", lengths=(64, 8192), sources=sources)
    assert re.fullmatch(r"hotpotqa has no problem of 64 tokens or fewer: the smallest needs \d+", one_line(caught))


def test_enough_questions_need_no_note(tmp_path):
    sources = {"hotpotqa": dataset(tmp_path, "hotpotqa")}
    assert open_("ruler-hqa", lengths=(4096,), sources=sources, samples=12).notes == ()


@pytest.mark.parametrize("suite", ["qmsum", "code", "dialogue"])
def test_other_suites_ask_the_same_at_every_length(tmp_path, suite):
    meetings = write_lines(tmp_path / "qmsum.jsonl", [qmsum(number, turns=10 + 9 * number) for number in range(8)])
    folder = tmp_path / "code"
    for number in range(8):
        text = f"class Gadget{number}:\n    def spin_{number}_times(self, colour='shade {number}'): ...\n"
        (folder / f"part_{number}.py").parent.mkdir(exist_ok=True)
        (folder / f"part_{number}.py").write_text(text + "x = 1\n" * 300 * number, encoding="utf-8")
    sources = {name: str(path) for name, path in (("qmsum", meetings), ("code", folder)) if name == suite}
    opened = open_(suite, lengths=(3000, 1500), sources=sources, samples=6)
    longer, shorter = problems(opened).values()
    assert len(longer) == len(shorter) > 3
    for first, second in zip(longer, shorter, strict=True):
        check_length(first, 3000, WORDS)
        check_length(second, 1500, WORDS)
        assert first.answers == second.answers and first.question.split(":")[-1] == second.question.split(":")[-1]
    left_out = [note for note in opened.notes if "left out, as they need more than 1500 tokens" in note]
    assert bool(left_out) == (suite != "dialogue")


@pytest.mark.parametrize("suite", [*QUESTIONS, "qmsum"])
def test_without_its_data_a_suite_is_one_line(suite):
    with pytest.raises(SetupError) as caught:
        open_(suite)
    assert " needs its data: fetch " in one_line(caught) and "--source FILE" in one_line(caught)


def test_lengths_in_tokens_need_the_model_s_tokenizer(tmp_path):
    sources = {"hotpotqa": dataset(tmp_path, "hotpotqa")}
    for suite, given in (("ruler-hqa", {"sources": sources}), ("dialogue", {}), ("code", {})):
        with pytest.raises(OptionError, match="name the endpoint's --tokenizer"):
            open_suite(Recipe(suite=suite, **given), ByteEstimate())
    counted = open_suite(Recipe(suite="ruler-hqa", documents=(20,), sources=sources), ByteEstimate())
    assert counted.cells[0].build(0).length is None


def problem(number, *, words=100, **changes):
    given = {"id": f"p{number}", "task": "own", "question": "Who?", "answers": ("Ann",), "metric": "em"}
    return Problem(**{**given, "context": " ".join(["oak"] * words), **changes})


def cells(suite):
    return [(cell.task, cell.length, cell.label, cell.count) for cell in suite.cells]


def test_a_file_s_problems_are_grouped_by_task_and_about_their_length(tmp_path):
    made = [
        problem(1, words=1000),
        problem(2, words=1024),
        problem(3, words=1025),
        problem(4, length=8100),
        problem(5, length=8192),
        problem(6, length=5000, notes={"target": 5050}),
        problem(7, length=5049, notes={"target": 5050}),
        problem(8, length=300, notes={"target": "5k"}),
        problem(9, task="another", words=1000),
        problem(10, length=7100, notes={"num_docs": 50}),
        problem(11, length=9300, notes={"num_docs": 50}),
        problem(12, length=5049, notes={"num_docs": 31, "target": 5050}),
    ]
    path = tmp_path / "own.jsonl"
    jsonl.write(path, made)
    suite = open_(path)
    assert cells(suite) == [
        ("own", 50, "50 documents", 2),
        ("own", 512, "512", 1),
        ("another", 1024, "1k", 1),
        ("own", 1024, "1k", 2),
        ("own", 2048, "2k", 1),
        ("own", 5050, "5050", 3),
        ("own", 8192, "8k", 2),
    ]
    assert [one.id for one in problems(suite)["5050"]] == ["p6", "p7", "p12"]
    assert open_(path, samples=1).notes == ("5 of 12 problems left out: --limit is 1 a task and length",)


def test_what_was_made_for_a_length_stays_together(tmp_path):
    source = {"hotpotqa": dataset(tmp_path, "hotpotqa")}
    made = problems(open_("ruler-hqa", lengths=(3000,), sources=source, samples=5))["3000"]
    assert len({one.length for one in made}) > 1
    for format_name, name in (("nvidia", "a.jsonl"), ("memagent", "b.jsonl"), ("eval-json", "c.json")):
        write(tmp_path / name, made, format_name)
        assert cells(open_(tmp_path / name)) == [("ruler-hqa", 3000, "3000", 5)]


def test_long_documents_are_estimated_by_their_beginning(tmp_path):
    class Counting(WordTokenizer):
        counted = 0

        def count(self, text):
            Counting.counted += len(text)
            return super().count(text)

    jsonl.write(tmp_path / "own.jsonl", [problem(1, words=100_000)])
    (cell,) = open_suite(Recipe(suite=str(tmp_path / "own.jsonl")), Counting()).cells
    assert cell.length == 131_072 and Counting.counted <= 50_000


def test_the_longest_prompt_of_lengths_in_documents_is_estimated(tmp_path):
    sources = {"hotpotqa": dataset(tmp_path, "hotpotqa")}
    suite = open_("ruler-hqa", documents=(20, 40), sources=sources, samples=4)
    longest = max(WORDS.count(one.prompt(one.context)) for one in problems(suite)["40 documents"])
    assert longest < longest_prompt(suite, WORDS) < 1.2 * longest
    assert longest_prompt(open_("code", lengths=(2048, 4096)), WORDS) == 4096


def test_files_have_no_lengths_to_choose(tmp_path):
    jsonl.write(tmp_path / "own.jsonl", [problem(1)])
    for name, given in (("--lengths", {"lengths": (4096,)}), ("--tasks", {"tasks": ("own",)})):
        with pytest.raises(OptionError, match=f"own.jsonl has no use for {name}: leave out {name}"):
            open_(tmp_path / "own.jsonl", **given)
    with pytest.raises(OptionError, match="there is no suite or file gone: take a file of problems or ruler, "):
        open_("gone")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="the file is empty"):
        open_(tmp_path / "empty.jsonl")


def test_another_metric_takes_the_place_of_a_suite_s_own(tmp_path):
    sources = {"hotpotqa": dataset(tmp_path, "hotpotqa")}
    (cell,) = open_("ruler-hqa", documents=(20,), sources=sources, metric="f1").cells
    assert cell.build(0).metric == "f1"


@pytest.mark.parametrize(
    ("suite", "tasks"), [("ruler", ("niah_multikey_1", "qa_2")), ("ruler-hqa", ()), ("dialogue", ())]
)
def test_a_problem_fits_the_window_of_its_length_with_the_chat_template(tmp_path, suite, tasks):
    data = {"sources": {"hotpotqa": dataset(tmp_path, "hotpotqa")}, "split": "all"} if suite != "dialogue" else {}
    recipe = Recipe(suite=suite, lengths=(4096,), samples=2, tasks=tasks, **data)
    for cell in open_suite(recipe, WORDS, template_tokens=37).cells:
        assert (cell.label, cell.length) == ("4k", 4096)
        for problem in map(cell.build, range(cell.count)):
            needed = WORDS.count(problem.prompt(problem.context)) + problem.max_tokens + 37
            assert problem.length == needed and 0.99 * 4096 <= needed <= 4096
            assert problem.notes["template_tokens"] == 37


def test_a_question_task_without_its_data_says_how_to_name_it():
    with pytest.raises(SetupError, match="--source squad=FILE, or --source squad=hub:rajpurkar/squad"):
        open_("ruler", tasks=("qa_1",), lengths=(4096,))


def test_ruler_asks_only_questions_that_fit_the_shortest_length(tmp_path):
    records = [RECORDS["hotpotqa"](number, paragraphs=3 + 9 * number) for number in range(8)]
    sources = {"hotpotqa": str(write_lines(tmp_path / "growing.jsonl", records))}
    suite = open_("ruler", tasks=("qa_2",), sources=sources, lengths=(2048, 1024), samples=8, split="all")
    assert {cell.count for cell in suite.cells} == {suite.cells[0].count} and 0 < suite.cells[0].count < 8
    large, small = problems(suite).values()
    assert [one.question for one in large] == [one.question for one in small]
    assert any("left out" in note for note in suite.notes)


def test_a_suite_is_checked_before_any_model_is_opened():
    with pytest.raises(OptionError, match="there is no suite or file fool"):
        check_suite(Recipe(suite="fool"))
    with pytest.raises(OptionError, match="--documents is for"):
        check_suite(Recipe(suite="ruler", documents=(50,)))


@pytest.mark.parametrize(
    ("suite", "given", "says"),
    [
        ("ruler", {"sources": {"ruler": "hotpot.json"}}, "give --source squad=FILE or --source hotpotqa=FILE"),
        ("ruler", {"split": "train"}, "ruler has no use for --split"),
        ("ruler-hqa", {"sources": {"squad": "squad.json"}}, "give --source hotpotqa=FILE"),
        ("ruler-hqa", {"tasks": ("vt",)}, "ruler-hqa has no use for --tasks"),
        ("code", {"paragraphs": "more.jsonl"}, "code has no use for --paragraphs"),
        ("dialogue", {"haystack": "book.txt"}, "dialogue has no use for --haystack"),
        ("FILE", {"sources": {"hotpotqa": "hotpot.json"}}, "give none"),
    ],
)
def test_what_a_suite_has_no_use_for_is_not_lost_in_silence(tmp_path, suite, given, says):
    jsonl.write(tmp_path / "own.jsonl", [problem(1)])
    with pytest.raises(OptionError, match=says):
        check_suite(Recipe(suite=suite.replace("FILE", str(tmp_path / "own.jsonl")), **given))
