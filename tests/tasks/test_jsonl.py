import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import DocumentError, InputError
from memagent.scoring import METRICS
from memagent.tasks import Problem, jsonl

RIGHT = {"question": "Who?", "answers": ["Clara"], "context": "The house is Clara's."}


@pytest.fixture
def file(tmp_path):
    """Write lines (objects, or raw text or bytes) to a file of problems."""

    def write(*lines, name="own.jsonl"):
        path = tmp_path / name
        raw = [
            one if isinstance(one, bytes) else (one if isinstance(one, str) else json.dumps(one)).encode()
            for one in lines
        ]
        data = b"".join(one + b"\n" for one in raw)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def faults(path):
    return [str(fault) for fault in jsonl.validate(path)]


def test_the_least_that_a_problem_needs(file):
    (problem,) = jsonl.read(file(RIGHT))
    assert problem == Problem(
        id="own-1", task="problems", question="Who?", answers=("Clara",), metric="em", context="The house is Clara's."
    )


def test_documents_lie_relative_to_the_file(file, tmp_path, monkeypatch):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text("A tale.", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Another.", encoding="utf-8")
    one = {"question": "Who?", "answers": ["Clara"], "document": "books/a.txt"}
    two = {**one, "document": ["books/a.txt", str(tmp_path / "b.txt")]}
    path = file(one, two)
    first, second = jsonl.read(path)
    assert first.files == (str(tmp_path / "books" / "a.txt"),)
    assert second.files == (str(tmp_path / "books" / "a.txt"), str(tmp_path / "b.txt"))
    assert "A tale." in "".join(piece.text for piece in first.document().pieces())
    # Written elsewhere, the paths lead to the same files; relative ones stay relative.
    elsewhere = tmp_path / "out" / "own.jsonl"
    elsewhere.parent.mkdir()
    jsonl.write(elsewhere, [first, second])
    assert [problem.files for problem in jsonl.read(elsewhere)] == [first.files, second.files]
    assert "../books/a.txt" in elsewhere.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (problem,) = jsonl.read(file(one).relative_to(tmp_path))
    assert problem.files == ("books/a.txt",)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FULL = TEXT.filter(str.strip)
PROBLEMS = st.builds(
    Problem,
    id=FULL,
    task=FULL,
    question=FULL,
    answers=st.lists(FULL, min_size=1, max_size=3).map(tuple),
    metric=st.sampled_from(sorted(METRICS)),
    context=FULL,
    head=TEXT,
    tail=TEXT,
    answer_prefix=TEXT,
    max_tokens=st.integers(1, 10**6),
    length=st.none() | st.integers(1, 10**9),
    tokenizer=st.none() | FULL,
    facts=st.lists(FULL, max_size=2).map(tuple),
    notes=st.dictionaries(TEXT, st.integers() | TEXT | st.lists(st.integers(), max_size=2), max_size=2),
)


@settings(deadline=None)
@given(problems=st.lists(PROBLEMS, min_size=1, max_size=4, unique_by=lambda problem: problem.id), packed=st.booleans())
def test_all_of_a_problem_comes_back(tmp_path_factory, problems, packed):
    path = tmp_path_factory.mktemp("round") / ("own.jsonl.gz" if packed else "own.jsonl")
    assert jsonl.write(path, problems) == len(problems)
    assert jsonl.read(path) == problems
    assert list(jsonl.stream(path)) == problems
    assert jsonl.validate(path) == []
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_every_field_of_a_problem_is_in_the_schema():
    fields = set(Problem.__dataclass_fields__) - {"files"} | {"document"}
    assert fields == set(jsonl._FIELDS)


def test_the_same_problems_give_the_same_packed_file(tmp_path, file):
    problems = jsonl.read(file(RIGHT))
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        jsonl.write(tmp_path / name, problems)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_what_real_files_look_like(file):
    # A byte-order mark, Windows line ends, blank lines, no newline at the end, a newline of another alphabet.
    question = json.dumps({**RIGHT, "question": "Who\u2028is it?"}, ensure_ascii=False)
    path = file(b"\xef\xbb\xbf" + json.dumps(RIGHT).encode() + b"\r", b"", b"  ", question)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert [(problem.id, problem.question) for problem in jsonl.read(path)] == [
        ("own-1", "Who?"),
        ("own-4", "Who\u2028is it?"),
    ]


def test_null_is_not_known(file):
    (problem,) = jsonl.read(file({**RIGHT, "length": None, "tokenizer": None}))
    assert problem.length is problem.tokenizer is None


def test_packed_files_are_told_by_their_bytes(file):
    path = file(RIGHT, name="own.jsonl.gz")
    assert len(jsonl.read(path)) == 1
    assert len(jsonl.read(path.rename(path.with_name("packed.jsonl")))) == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"answers": ["x"], "context": "c"}, "1: question: is missing"),
        ({**RIGHT, "question": ""}, "1: question: is empty"),
        ({**RIGHT, "question": " \n"}, "1: question: is empty"),
        ({**RIGHT, "question": 5}, "1: question: must be a string, not 5"),
        ({"question": "q", "context": "c"}, "1: answers: is missing"),
        ({**RIGHT, "answers": []}, "1: answers: is an empty list"),
        ({**RIGHT, "answers": "Clara"}, '1: answers: must be a list of strings: write ["Clara"]'),
        ({**RIGHT, "answers": {"a": 1}}, '1: answers: must be a list of strings, not {"a": 1}'),
        ({**RIGHT, "answers": ["a", 1]}, "1: answers: entry 2 must be a string, not 1"),
        ({**RIGHT, "answers": ["a", " "]}, "1: answers: entry 2 is empty"),
        ({"question": "q", "answers": ["a"]}, "1: context: is missing, and document too: give one of them"),
        ({**RIGHT, "document": "own.jsonl"}, "1: context: is there beside document: give one of them"),
        ({**RIGHT, "context": ""}, "1: context: is empty"),
        ({**RIGHT, "context": None}, "1: context: must be a string, not null"),
        ({"question": "q", "answers": ["a"], "document": []}, "1: document: is an empty list"),
        ({"question": "q", "answers": ["a"], "document": ["", 1]}, "1: document: entry 1 is empty"),
        ({"question": "q", "answers": ["a"], "document": 7}, "1: document: must be a list of strings, not 7"),
        ({**RIGHT, "anwsers": ["x"]}, "1: anwsers: is no field: did you mean answers?"),
        ({**RIGHT, "zzz": 1}, "1: zzz: is no field: there are question, answers, context, "),
        ({**RIGHT, "metric": "ruler_al"}, "1: metric: there is no metric 'ruler_al': did you mean ruler_all?"),
        ({**RIGHT, "metric": "os:system"}, "1: metric: must be the name of a metric: functions of one's own are for"),
        ({**RIGHT, "metric": ["em"]}, '1: metric: must be a string, not ["em"]'),
        ({**RIGHT, "max_tokens": 0}, "1: max_tokens: must be a whole number above 0, not 0"),
        ({**RIGHT, "max_tokens": True}, "1: max_tokens: must be a whole number above 0, not true"),
        ({**RIGHT, "max_tokens": 1.5}, "1: max_tokens: must be a whole number above 0, not 1.5"),
        ({**RIGHT, "max_tokens": None}, "1: max_tokens: must be a whole number above 0, not null"),
        ({**RIGHT, "length": "8k"}, '1: length: must be a whole number above 0, not "8k"'),
        ({**RIGHT, "id": 3}, "1: id: must be a string, not 3"),
        ({**RIGHT, "notes": []}, "1: notes: must be an object, not []"),
        ({**RIGHT, "facts": "x"}, '1: facts: must be a list of strings: write ["x"]'),
        ({**RIGHT, "answers": "x" * 99}, "1: answers: must be a list of strings: write ["),
        ({**RIGHT, "context": "\ud83d"}, "1: context: holds half of a surrogate pair"),
        ({**RIGHT, "answers": ["a", "\udc00"]}, "1: answers: entry 2 holds half of a surrogate pair"),
        ({**RIGHT, "notes": {"a": ["\ud83d"]}}, "1: notes: holds half of a surrogate pair"),
        ([RIGHT], "1: must be an object, not ["),
        ("null", "1: must be an object, not null"),
        ('{"question": "q", }', "1: is no JSON: "),
        ("{'question': 'q'}", "at column 2"),
        ('{"question": "q", "question": "r"}', "1: says 'question' twice"),
        ('{"length": NaN}', "1: is no JSON: NaN is no number"),
        ('{"length": ' + "9" * 5000 + "}", "1: "),
        ("[" * 200_000, "1: is nested too deeply"),
        (b'{"question": "\xff"}', "1: is not UTF-8: invalid start byte at byte 15"),
    ],
)
def test_faults_name_line_and_field(file, record, message):
    path = file(record)
    (first, *_) = faults(path)
    assert message in first
    assert "\n" not in first and len(first) < 250
    with pytest.raises(InputError) as caught:
        jsonl.read(path)
    assert str(caught.value).startswith(f"{path}:{first}")
    with pytest.raises(InputError) as caught:
        list(jsonl.stream(path))
    assert str(caught.value) == f"{path}:{first}"


def test_documents_that_are_not_there(file, tmp_path):
    documents = ["gone.txt", "own.jsonl", "x" * 300, "nul\0"]
    path = file({"question": "q", "answers": ["a"], "document": documents})
    assert [fault.removeprefix("1: document: there is no file ") for fault in faults(path)] == [
        str(tmp_path / name) for name in ("gone.txt", "x" * 300, "nul\0")
    ]


def test_all_faults_of_all_lines_are_found(file):
    path = file(RIGHT, {"answers": "a"}, "", "[", {**RIGHT, "id": "own-1"}, {**RIGHT, "metric": "x", "tail": 1})
    assert [(fault.line, fault.field) for fault in jsonl.validate(path)] == [
        (2, "answers"), (2, "question"), (2, "context"), (4, ""), (5, "id"), (6, "metric"), (6, "tail"),
    ]  # fmt: skip
    assert "5: id: 'own-1' stands in line 1 already" in faults(path)
    with pytest.raises(
        InputError, match=r":2: answers: .* \(and 6 more; memagent data validate .*own.jsonl lists them"
    ):
        jsonl.read(path)


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_empty_file(tmp_path, data):
    path = tmp_path / "own.jsonl"
    path.write_bytes(data)
    assert faults(path) == ["1: the file is empty"]


def test_files_that_cannot_be_read(file, tmp_path):
    torn = file(*[{**RIGHT, "question": str(number)} for number in range(999)], name="torn.jsonl.gz")
    torn.write_bytes(torn.read_bytes()[:-20])
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b" + b"?" * 50)
    damaged = file(*[{**RIGHT, "question": str(number)} for number in range(999)], name="damaged.jsonl.gz")
    damaged.write_bytes(damaged.read_bytes()[:100] + b"?" * 200)
    for path in (tmp_path / "gone.jsonl", tmp_path, torn, broken, damaged):
        with pytest.raises(DocumentError, match="cannot be read") as caught:
            jsonl.validate(path)
        assert str(caught.value).startswith(str(path))


def test_a_write_that_fails_leaves_what_was_there(file):
    path = file(RIGHT)
    (problem,) = jsonl.read(path)
    before = path.read_bytes()
    broken = Problem(id="b", task="t", question="\ud800", answers=("a",), metric="em", context="c")
    with pytest.raises(InputError, match="the problem 'b' holds half of a surrogate pair"):
        jsonl.write(path, [problem, broken])
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_file_is_read_as_a_stream(file):
    found = jsonl.stream(file(RIGHT, "no JSON"))
    assert next(found).question == "Who?"
    with pytest.raises(InputError, match=r"own\.jsonl:2: is no JSON"):
        next(found)


def test_problems_with_their_lines(file):
    path = file("", RIGHT, "", {**RIGHT, "id": "b"})
    assert [(line, problem.id) for line, problem in jsonl.numbered(path)] == [(2, "own-2"), (4, "b")]
