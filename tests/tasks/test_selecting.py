"""A part of a file is the records themselves, in the file's own format."""

import gzip
import json

import pytest

from memagent.errors import DocumentError, InputError, OptionError
from memagent.tasks import jsonl
from memagent.tasks.records import read_records
from memagent.tasks.selecting import kind_of_file, select


def record(kind, number):
    """A record of an official format, with a field that no problem holds."""
    own = {"index": 40 + number, "level": "hard"}
    context = f"Text {number}, for hören."
    return {
        "nvidia": {**own, "input": f"Read.\n{context}\nWho?", "outputs": ["Clara"], "length": 9},
        "memagent": {**own, "input": "Who?", "context": context, "outputs": ["Clara"], "length": 9},
        "eval-json": {**own, "input": "Who?", "context": context, "answers": ["Clara"], "num_docs": 2},
        "train-parquet": {
            "data_source": "hotpotqa",
            "prompt": [{"role": "user", "content": "Who?"}],
            "context": context,
            "ability": "memory",
            "reward_model": {"style": "rule", "ground_truth": ["Clara"]},
            "extra_info": {**own, "question": "Who?", "num_docs": 2},
        },
    }[kind]


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("kind", ["nvidia", "memagent", "eval-json"])
@pytest.mark.parametrize("form", ["lines", "list"])
@pytest.mark.parametrize("packed", [False, True])
def test_records_stay_as_they_are(tmp_path, kind, form, packed):
    source, target = tmp_path / "in.jsonl", tmp_path / "new" / ("out.jsonl.gz" if packed else "out.jsonl")
    written = [record(kind, number) for number in range(4)]
    source.write_text(lines(written) if form == "lines" else json.dumps(written, indent=1), "utf-8")
    assert kind_of_file(source) == kind
    assert select(source, target, {1, 3}) == 2
    text = (gzip.decompress(target.read_bytes()) if packed else target.read_bytes()).decode()
    found = json.loads(text) if form == "list" else [json.loads(line) for line in text.splitlines()]
    assert found == [written[1], written[3]]
    assert [problem.id for problem in read_records(target)] == [read_records(source)[n].id for n in (1, 3)]
    assert [one.name for one in target.parent.iterdir()] == [target.name]


def test_rows_of_parquet_stay_as_they_are(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [record("train-parquet", n) for n in range(600)]
    table = pyarrow.Table.from_pylist(rows).replace_schema_metadata({"made by": "us"})
    parquet.write_table(table, tmp_path / "in.parquet")
    kept = {0, 255, 256, 599}
    assert select(tmp_path / "in.parquet", tmp_path / "out.parquet", kept) == 4
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found.to_pylist() == [rows[n] for n in sorted(kept)]
    assert found.schema.equals(parquet.read_schema(tmp_path / "in.parquet"), check_metadata=True)
    assert select(tmp_path / "in.parquet", tmp_path / "none.parquet", set()) == 0


def test_ones_own_problems_keep_their_documents_and_ids(tmp_path):
    (tmp_path / "book.txt").write_text("A tale.", "utf-8")
    source = tmp_path / "own.jsonl"
    source.write_text(lines({"question": f"q{n}", "answers": ["a"], "document": "book.txt"} for n in range(3)), "utf-8")
    select(source, tmp_path / "new" / "kept.jsonl", {2})
    (problem,) = jsonl.read(tmp_path / "new" / "kept.jsonl")
    assert problem == jsonl.read(source)[2] and problem.id == "own-3"
    assert json.loads((tmp_path / "new" / "kept.jsonl").read_text("utf-8"))["document"] == ["../book.txt"]


def test_half_a_surrogate_pair_stays_spelled_out(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text(lines([{**record("eval-json", 0), "context": "\ud83d"}]), "utf-8")
    select(source, tmp_path / "out.jsonl", {0})
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8"))["context"] == "\ud83d"


@pytest.mark.parametrize(("source", "target"), [("in.parquet", "out.jsonl"), ("in.jsonl", "out.parquet")])
def test_a_name_that_does_not_fit_the_format(tmp_path, source, target):
    with pytest.raises(OptionError, match=r"out.* gets the format of .*in\..*: give it .* suffix"):
        select(tmp_path / source, tmp_path / target, {0})


def test_what_breaks_off_leaves_nothing_behind(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text(lines(record("nvidia", n) for n in range(4)) + "{", "utf-8")
    with pytest.raises(InputError, match=r"in\.jsonl:5 is no JSON"):
        select(source, tmp_path / "out.jsonl", {0})
    assert [one.name for one in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    ("name", "data", "error", "message"),
    [
        ("a.parquet", b"PAR1 no", DocumentError, "is no readable Parquet file"),
        ("gone.parquet", None, DocumentError, "there is no file"),
        ("a.json", b"[]", InputError, "holds no problem"),
        ("a.json", b'[{"x": 1, "y": 2}]', InputError, "record 1 is of no known format: its fields are x, y"),
    ],
)
def test_files_of_no_format(tmp_path, name, data, error, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=message):
        kind_of_file(tmp_path / name)


@pytest.mark.parametrize("data", [b"", b"{", b'{"question": "q"}\n', b"\xff"])
def test_what_our_own_reader_will_judge(tmp_path, data):
    (tmp_path / "own.jsonl").write_bytes(data)
    assert kind_of_file(tmp_path / "own.jsonl") is None
