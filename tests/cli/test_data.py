import json

import pytest
from tests.tasks.made_up import RECORDS, check_length, dataset, documents, hotpot, paragraph, qmsum, write_lines

from memagent.models.tokenizers import load_tokenizer
from memagent.tasks.records import SUFFIXES, read_records

DATASETS = ("hotpotqa", "2wiki", "musique", "squad", "nq")


def made(path):
    return read_records(path)


def notes(result):
    return [line for line in result.err.splitlines() if line.startswith("note: ")]


@pytest.mark.parametrize("name", DATASETS)
def test_questions_in_documents(memagent, tmp_path, name):
    given = ("--source", dataset(tmp_path, name), "--samples", 3, "-o", tmp_path / "out" / "deeper")
    result = memagent("data", name, *given, "--documents", "20,30", "--seed", 4)
    assert (result.status, result.out) == (0, "")
    files = [tmp_path / "out" / "deeper" / f"eval_{count}.json" for count in (20, 30)]
    assert [f"{path}: 3 problems" in result.err for path in files] == [True, True]
    first, second = map(made, files)
    assert [one.question for one in first] == [one.question for one in second]
    assert {len(documents(one.context)) for one in second} == {30}
    assert {json.loads(files[0].read_text())[0]["num_docs"]} == {20}
    # Nothing is overwritten, and nothing is begun that cannot be ended.
    before = files[1].read_bytes()
    result = memagent("data", name, *given, "--documents", "40,30")
    assert result.status == 2 and result.line.endswith("eval_30.json is there already: delete it or name another one")
    assert files[1].read_bytes() == before and not (files[0].with_name("eval_40.json")).exists()


@pytest.mark.parametrize("format_name", SUFFIXES)
def test_lengths_in_tokens_in_every_format(memagent, tmp_path, format_name):
    source = dataset(tmp_path, "hotpotqa")
    given = ("--source", source, "--tokens", "2k,3k", "--samples", 2, "--format", format_name)
    assert memagent("data", "hotpotqa", *given, "-o", tmp_path / "out").status == 0
    tokenizer = load_tokenizer("smollm2-135m")
    for tokens in (2048, 3072):
        for problem in made(tmp_path / "out" / f"eval_{tokens}_tokens.{SUFFIXES[format_name]}"):
            check_length(problem, tokens, tokenizer)


def test_lengths_are_counted_where_a_format_tells_them(memagent, tmp_path):
    given = ("--source", dataset(tmp_path, "hotpotqa"), "--documents", 20, "--samples", 1)
    for format_name in SUFFIXES:
        memagent("data", "hotpotqa", *given, "--format", format_name, "-o", tmp_path / format_name)
        (problem,) = made(tmp_path / format_name / f"eval_20.{SUFFIXES[format_name]}")
        assert (problem.length is None) == (format_name in ("eval-json", "train-parquet"))


def test_splits_share_no_question_and_no_distractor(memagent, tmp_path):
    records = [hotpot(number, split=("train", "dev", "unknown")[number % 3]) for number in range(12)]
    source = write_lines(tmp_path / "hotpotqa.jsonl.gz", records)
    paragraphs = write_lines(tmp_path / "paragraphs.jsonl.gz", [paragraph(number) for number in range(150)])
    seen = {}
    for split in ("train", "dev", "all"):
        given = ("--source", source, "--paragraphs", paragraphs, "--split", split, "--documents", 60)
        result = memagent("data", "hotpotqa", *given, "-o", tmp_path / split)
        found = made(tmp_path / split / "eval_60.json")
        assert notes(result) == [f"note: hotpotqa: there are {len(found)} of 16 asked for"]
        bodies = {body for one in found for body in documents(one.context).values()}
        seen[split] = {one.question for one in found}, {body for body in bodies if body.startswith("hotpot page")}
    assert [len(asked) for asked, _ in seen.values()] == [4, 4, 12]
    for train, dev in zip(seen["train"], seen["dev"], strict=True):
        assert train and dev and not train & dev


def test_what_does_not_fit_is_left_out_and_said(memagent, tmp_path):
    records = [RECORDS["hotpotqa"](number, paragraphs=4 + number) for number in range(6)]
    source = write_lines(tmp_path / "growing.jsonl", records)
    result = memagent("data", "hotpotqa", "--source", source, "--documents", "6,50", "-o", tmp_path / "out")
    assert result.status == 0
    assert notes(result)[0] == "note: hotpotqa: 3 of the first 6 left out, as they need more than 6 documents"
    assert [len(made(tmp_path / "out" / f"eval_{count}.json")) for count in (6, 50)] == [3, 3]
    result = memagent("data", "hotpotqa", "--source", source, "--documents", "3,50", "-o", tmp_path / "none")
    assert result.line == "memagent: hotpotqa has no problem of 3 documents or fewer: the smallest needs 4"
    assert result.status == 2 and not (tmp_path / "none").exists()


@pytest.fixture
def sources(tmp_path):
    meetings = write_lines(tmp_path / "qmsum.jsonl", [qmsum(number) for number in range(5)])
    folder = tmp_path / "code"
    folder.mkdir()
    for number in range(8):
        text = f"class Gadget{number}:\n    def spin_{number}_times(self, colour='shade {number}'): ...\n"
        (folder / f"part_{number}.py").write_text(text, encoding="utf-8")
    book = tmp_path / "book.txt"
    book.write_text(" ".join(f"On day {day} it rained." for day in range(99)), encoding="utf-8")
    return {"qmsum": meetings, "code": folder, "dialogue": book}


@pytest.mark.parametrize("name", ["qmsum", "code", "dialogue"])
def test_other_tasks(memagent, tmp_path, sources, name):
    given = ("--source", sources[name], "--samples", 3)
    result = memagent("data", name, *given, "--tokens", "4k,6k", "-o", tmp_path / "out")
    assert (result.status, result.out) == (0, "")
    first, second = (made(tmp_path / "out" / f"{name}_{tokens}.jsonl") for tokens in (4096, 6144))
    tokenizer = load_tokenizer("smollm2-135m")
    for tokens, found in ((4096, first), (6144, second)):
        for problem in found:
            check_length(problem, tokens, tokenizer)
    assert [one.answers for one in first] == [one.answers for one in second] and len(first) == 3
    result = memagent("data", name, *given, "--tokens", 50, "-o", tmp_path / "none")
    assert result.status == 2
    assert result.line.startswith(f"memagent: {name} has no problem of 50 tokens or fewer: the smallest needs ")


@pytest.mark.parametrize(("task", "name"), [("qa_1", "squad"), ("qa_2", "hotpotqa")])
def test_ruler_s_question_tasks(memagent, tmp_path, task, name):
    source = dataset(tmp_path, name, count=3)
    given = ("--tokens", "2k", "--source", source)
    result = memagent("data", "ruler", task, *given, "-o", tmp_path / "out.jsonl")
    found = made(tmp_path / "out.jsonl")
    assert notes(result) == [f"note: {name}: there are {len(found)} of 16 asked for"]
    for problem in found:
        check_length(problem, 2048, load_tokenizer("smollm2-135m"))
        assert (problem.task, problem.metric) == (task, "ruler_part")
    named = write_lines(tmp_path / "train.jsonl", [RECORDS[name](0)])
    given = ("--tokens", "2k", "--source", named)
    result = memagent("data", "ruler", task, *given, "-o", tmp_path / "dev.jsonl")
    assert result.status == 2 and "holds no question of the split dev, but " in result.line


def test_generated_ruler_tasks_need_nothing(memagent, tmp_path):
    given = ("--tokens", "4k", "--samples", 2, "--seed", 3, "-o")
    result = memagent("data", "ruler", "niah_single_1", *given, tmp_path / "a" / "niah.jsonl")
    assert result.status == 0 and len(made(tmp_path / "a" / "niah.jsonl")) == 2
    assert notes(result) == []
    result = memagent("data", "ruler", "niah_single_1", *given, tmp_path / "a" / "niah.jsonl")
    assert result.status == 2 and "is there already" in result.line
    result = memagent("data", "ruler", "niah", *given, tmp_path / "b.jsonl")
    assert result.status == 2 and result.line.startswith("memagent: there is no RULER task niah: the tasks are ")


@pytest.mark.parametrize("name", [*DATASETS, "qmsum"])
def test_without_the_data_the_user_is_told_where_to_get_it(memagent, tmp_path, name):
    result = memagent("data", name, "--tokens", "8k", "-o", tmp_path / "out")
    assert result.status == 2
    assert result.line.startswith(f"memagent: {name} needs its data: fetch ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--documents", "50"), "there is no file gone.jsonl"),
        (("--documents", "50", "--tokens", "8k"), "give --documents or --tokens, and not both"),
        ((), "give --documents or --tokens, and not both"),
        (("--documents", "many"), "'many' is no number of tokens"),
        (("--documents", "50", "--split", "test"), "'test' is not one of"),
        (("--documents", "50", "--format", "csv"), "'csv' is not one of"),
        (("--tokens", "8k", "--tokenizer", "/gone"), "there is no file gone.jsonl"),
    ],
)
def test_options_that_make_no_sense(memagent, tmp_path, arguments, message):
    result = memagent("data", "hotpotqa", "--source", "gone.jsonl", *arguments, "-o", tmp_path / "out")
    assert result.status == 2 and message in result.line


@pytest.mark.parametrize(
    ("task", "given", "unused"),
    [
        ("vt", ("--source", "hotpot.json"), "--source"),
        ("cwe", ("--paragraphs", "more.jsonl"), "--paragraphs"),
        ("niah_single_1", ("--haystack", "book.txt"), "--haystack"),
    ],
)
def test_what_a_ruler_task_has_no_use_for_is_not_lost_in_silence(memagent, tmp_path, task, given, unused):
    result = memagent("data", "ruler", task, "--tokens", "4k", *given, "-o", tmp_path / "out.jsonl")
    assert result.status == 2 and f"{task} has no use for {unused}" in result.line
    assert not (tmp_path / "out.jsonl").exists()


def test_files_that_cannot_be_used(memagent, tmp_path):
    good = dataset(tmp_path, "hotpotqa")
    bad = {
        "empty.jsonl": (b"", "is empty"),
        "latin.jsonl": (b'{"question": "\xe9"}\n', "cannot be read: 'utf-8' codec"),
        "torn.jsonl.gz": (write_lines(tmp_path / "t.gz", map(hotpot, range(9))).read_bytes()[:-50], "cannot be read"),
        "squad.jsonl": (json.dumps(RECORDS["squad"](0)).encode(), "is no record of hotpotqa: the field 'context'"),
        "text.parquet": (b"text", "is no readable Parquet file"),
    }
    for name, (data, message) in bad.items():
        (tmp_path / name).write_bytes(data)
        result = memagent("data", "hotpotqa", "--source", tmp_path / name, "--documents", 20, "-o", tmp_path / "out")
        assert result.status == 2 and name in result.line and message in result.line
    for name in ("empty.jsonl", "latin.jsonl", "text.parquet"):
        given = ("--source", good, "--paragraphs", tmp_path / name)
        result = memagent("data", "hotpotqa", *given, "--documents", 20, "-o", tmp_path / "out")
        assert result.status == 2 and name in result.line and bad[name][1] in result.line
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = memagent("data", "hotpotqa", "--source", good, "--documents", 20, "-o", tmp_path / "file")
    assert result.status == 2 and result.line.endswith("file is no folder to write to")
