import gzip
import json

import pytest
from tests.tasks.made_up import one_line, write_lines

from memagent.errors import DocumentError, InputError, SetupError
from memagent.tasks.qa import sources
from memagent.tasks.qa.sources import records

FOUND = [{"a": number, "t": 'x]},[{\\" é\u2028' * number} for number in range(40)]


@pytest.fixture
def file(tmp_path):
    def write(data, name="data.json"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return write


def read(source, **given):
    return [record for _, record in records(source, **given)]


LINES = "".join(json.dumps(record) + "\n" for record in FOUND)
SHAPES = {
    "list": json.dumps(FOUND),
    "indented list": json.dumps(FOUND, indent=2, ensure_ascii=False),
    "lines": LINES,
    "lines with blanks": "\n" + LINES.replace("\n", "\n\n"),
    "no newline at the end": LINES.rstrip(),
    "data": json.dumps({"version": "1.1", "data": FOUND}),
    "indented data": json.dumps({"data": FOUND}, indent=1),
    "with a byte order mark": "\ufeff" + json.dumps(FOUND),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data.json.gz", "data"])
def test_json_in_every_shape(file, shape, name):
    data = SHAPES[shape].encode()
    assert read(file(gzip.compress(data) if name.endswith(".gz") else data, name)) == FOUND


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_lists_are_read_in_blocks(file, monkeypatch, block):
    monkeypatch.setattr(sources, "_BLOCK", block)
    for shape in ("list", "indented list"):
        assert read(file(SHAPES[shape])) == FOUND


def test_one_object_and_an_empty_list(file):
    assert read(file('{\n "a": 1\n}')) == [{"a": 1}]
    assert read(file("[]")) == read(file(" [ ] ")) == []


def test_parquet(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(FOUND * 4), tmp_path / "data.parquet")
    assert read(str(tmp_path / "data.parquet")) == FOUND * 4


def test_places_are_lines_or_numbers(file):
    source = file(LINES, "data.jsonl")
    assert [place for place, _ in records(source)][:2] == [f"{source}:1", f"{source}:2"]
    source = file(json.dumps(FOUND))
    assert [place for place, _ in records(source)][:2] == [f"{source}, record 1", f"{source}, record 2"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("hello", "is no JSON: "),
        ("{", "is no JSON: "),
        ('{"a": 1}\n{"a": 2', "data.json:2 is no JSON: "),
        ('{"a": 1}\n5', "data.json:2 is no JSON object"),
        ("null", "data.json:1 is no JSON object"),
        ("[", "is no JSON: it breaks off, or is at fault, behind record 0"),
        ('[{"a": 1}', "is no JSON: it breaks off, or is at fault, behind record 1"),
        ('[{"a": 1}, {"a": ]', "is no JSON: it breaks off, or is at fault, behind record 1"),
        ('[{"a": 1}, 5]', "record 2 is no JSON object"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * 100_000, "is no JSON: "),
        (b'{"a": "\xff"}', "cannot be read: 'utf-8' codec can't decode byte 0xff"),
        (b"\x1f\x8b" + b"?" * 50, "cannot be read: "),
        (gzip.compress(LINES.encode())[:-30], "cannot be read: "),
        (gzip.compress(LINES.encode())[:60] + b"?" * 100, "cannot be read: "),
    ],
)
def test_faults_are_one_line(file, data, message):
    source = file(data)
    with pytest.raises(InputError) as caught:
        read(source)
    assert one_line(caught).startswith(source) and message in one_line(caught)


def test_files_that_are_none(tmp_path, file):
    for source in (str(tmp_path), str(tmp_path / "gone.jsonl")):
        with pytest.raises(DocumentError, match=f"there is no file {source}"):
            read(source)
    with pytest.raises(DocumentError, match="is no readable Parquet file: "):
        read(file(b"PAR1 not really", "data.parquet"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A dataset as the `datasets` library loads it: here from a folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    folder = tmp_path / "made"
    for split in ("train", "validation"):
        write_lines(folder / f"{split}.jsonl", [{"question": f"{split} {number}?"} for number in range(3)])
    yield f"hub:{folder}"
    datasets.enable_progress_bars()


def test_datasets_of_the_hub_by_split(hub):
    expected = {"train": ["train"], "dev": ["validation"], None: ["validation"], "all": ["train", "validation"]}
    for split, names in expected.items():
        found = [record["question"] for record in read(hub, split=split)]
        assert found == [f"{name} {number}?" for name in names for number in range(3)]


def test_a_hub_that_fails_is_one_line(monkeypatch):
    import datasets

    def fails(name, config, split):
        raise ConnectionError(f"no way to {name}, {config}\nand a long story")

    monkeypatch.setattr(datasets, "load_dataset", fails)
    with pytest.raises(SetupError) as caught:
        read("hub:owner/name:distractor")
    assert one_line(caught) == (
        "the dataset owner/name cannot be loaded from the hub: no way to owner/name, distractor"
    )
