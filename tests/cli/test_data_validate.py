"""`memagent data validate`: every fault with its line and field, or what is in a file."""

import json
import re
from pathlib import Path

import pytest

from memagent.tasks import Problem, jsonl
from memagent.tasks.records import write

PAGE = Path(__file__).parents[2] / "docs" / "problems.md"
RIGHT = {"question": "Who?", "answers": ["Clara"], "context": "The house is Clara's."}


@pytest.fixture
def file(tmp_path):
    def write_lines(*records, name="own.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return path

    return write_lines


@pytest.fixture
def validate(memagent):
    return lambda *paths: memagent("data", "validate", *paths)


def test_every_fault_has_its_line_and_field(validate, file):
    path = file({"question": 5, "answers": "Clara", "context": "c"}, RIGHT, {**RIGHT, "metrik": "em"})
    done = validate(path)
    assert done.status == 2
    assert done.out.splitlines() == [
        f"{path}:1: question: must be a string, not 5",
        f'{path}:1: answers: must be a list of strings: write ["Clara"]',
        f"{path}:3: metrik: is no field: did you mean metric?",
    ]
    assert done.line == "memagent: 3 faults in 1 of 1 file"


def test_what_is_in_a_file(validate, file):
    path = file(RIGHT, {**RIGHT, "context": "x" * 1204}, {**RIGHT, "task": "mine", "metric": "f1", "length": 8192})
    done = validate(path)
    assert done.status == 0 and done.err == ""
    assert done.out.splitlines() == [
        f"{path} (jsonl): 1 problem, task mine, metric f1, 8,192 tokens",
        f"{path} (jsonl): 2 problems, task problems, metric em, 21 to 1,204 characters",
    ]


def test_documents_are_opened(validate, file, tmp_path):
    (tmp_path / "good.txt").write_text("A tale of a house.", encoding="utf-8")
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 and no more")
    one = {"question": "Who?", "answers": ["Clara"]}
    good = {**one, "document": "good.txt"}
    done = validate(file(good, {**one, "document": ["good.txt", "good.txt"]}))
    assert done.status == 0 and "2 problems, task problems, metric em, 18 to " in done.out
    done = validate(path := file(good, {**one, "document": "bad.pdf"}, {**one, "document": "gone.pdf"}))
    assert done.out == f"{path}:3: document: there is no file {tmp_path / 'gone.pdf'}\n"
    done = validate(path := file(good, {**one, "document": "bad.pdf"}))
    assert done.status == 2 and done.out.startswith(f"{path}:2: document: {tmp_path / 'bad.pdf'}")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("nvidia", "a.jsonl"), ("memagent", "a.jsonl"), ("eval-json", "a.json"), ("train-parquet", "a.parquet")],
)
def test_official_formats_are_told_by_their_fields(validate, file, tmp_path, kind, name):
    own = jsonl.read(file({**RIGHT, "head": "Read.\n", "tail": "\nWho?", "length": 100}, name="own.jsonl"))
    write(tmp_path / name, own, kind)
    done = validate(tmp_path / name)
    assert done.status == 0 and done.out.startswith(f"{tmp_path / name} ({kind}): 1 problem, ")


def test_of_an_official_file_the_first_fault_is_told(validate, file):
    official = {"input": "Who?", "context": "c", "answers": ["Clara"], "num_docs": 2}
    done = validate(path := file(official, {**official, "answers": []}, name="eval_2.jsonl"))
    assert done.status == 2 and done.out.startswith(f"{path}:2 ") and len(done.out.splitlines()) == 1


def test_files_that_cannot_be_read_do_not_hide_the_others(validate, file, tmp_path):
    done = validate(tmp_path / "gone.jsonl", tmp_path, file(), file(RIGHT, name="good.jsonl"))
    assert done.status == 2 and done.line == "memagent: 3 faults in 3 of 4 files"
    gone, folder, empty, good = done.out.splitlines()
    assert "gone.jsonl cannot be read" in gone and "cannot be read" in folder and "empty" in empty
    assert good.startswith(f"{tmp_path / 'good.jsonl'} (jsonl): 1 problem, ")


def test_what_a_file_says_cannot_steer_the_terminal(validate, file):
    done = validate(file({**RIGHT, "\x1b[2Jfield": 1}))
    assert done.status == 2 and "\x1b" not in done.out


def test_no_file_is_one_line(memagent):
    done = memagent("data", "validate")
    assert done.status == 2 and "FILE" in done.line


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_on_problems_says_what_is_so(validate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = blocks("json")[0]
    Path("book.txt").write_text("Old Mr Harrow left the house to his niece Clara.\n", encoding="utf-8")
    Path("annex.txt").write_text("The annex ends with the lease.\n", encoding="utf-8")
    Path("my-problems.jsonl").write_text(examples, encoding="utf-8")
    broken = examples.replace('"question": "Who', '"qestion": "Who').replace('["Paris"]', '"Paris"')
    Path("broken.jsonl").write_text(broken, encoding="utf-8")
    right, wrong = blocks("text")[:2]
    assert validate("my-problems.jsonl").out == right
    assert validate("broken.jsonl").out == wrong


def test_the_page_on_problems_names_every_field():
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(named) == sorted({*Problem.__dataclass_fields__, "document"} - {"files"})
