import json

import pytest
from tests.tasks.made_up import dataset, one_line, qmsum, write_lines

from memagent.errors import DocumentError, InputError, OptionError
from memagent.models.scripted import WordTokenizer
from memagent.tasks import Problem, ruler
from memagent.tasks.dialogue import sample as dialogue
from memagent.tasks.qa import build, load
from memagent.tasks.qmsum import sample as qmsum_sample
from memagent.tasks.records import SUFFIXES, WRITERS, check_new, read_records, write

WORDS = WordTokenizer()
# The fields that the formats are published with.
OFFICIAL = {
    "nvidia": ("index", "input", "outputs", "length", "answer_prefix"),
    "memagent": ("index", "input", "context", "outputs", "answer_prefix", "length"),
    "eval-json": ("context", "input", "answers", "num_docs", "index"),
    "train-parquet": ("data_source", "prompt", "context", "ability", "reward_model", "extra_info"),
}
TASKS = ("niah_single_2", "niah_multikey_3", "niah_multivalue", "niah_multiquery", "vt", "cwe", "fwe")
MEASURED = {"niah_single_2": 128, "niah_multikey_3": 128, "niah_multivalue": 128, "niah_multiquery": 128,
            "vt": 30, "cwe": 120, "fwe": 50, "qa_1": 32, "qa_2": 32}  # fmt: skip


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """One of each of RULER's kinds, with questions among paragraphs and tasks of our own."""
    folder = tmp_path_factory.mktemp("data")
    made = [ruler.sample(task, 3000, tokenizer=WORDS) for task in TASKS]
    for task, name in (("qa_1", "squad"), ("qa_2", "hotpotqa")):
        corpus = load(name, dataset(folder, name), split="all")
        made.append(ruler.sample(task, 3000, tokenizer=WORDS, corpus=corpus))
    made.append(build(corpus, 1, documents=20))
    meetings = str(write_lines(folder / "qmsum.jsonl", map(qmsum, range(4))))
    made.append(qmsum_sample(tokens=3000, tokenizer=WORDS, source=meetings))
    return [*made, dialogue(tokens=2000, tokenizer=WORDS)]


def path_of(folder, format_name):
    return folder / f"file.{SUFFIXES[format_name]}"


def plain(problem):
    """All of a problem; notes as JSON has them."""
    fields = {name: getattr(problem, name) for name in Problem.__dataclass_fields__}
    return {**fields, "notes": json.loads(json.dumps(dict(problem.notes)))}


@pytest.mark.parametrize("format_name", ["nvidia", "memagent", "eval-json", "jsonl"])
def test_all_of_a_problem_comes_back(tmp_path, problems, format_name):
    path = tmp_path / "new" / f"file.{SUFFIXES[format_name]}"
    assert write(path, iter(problems), format_name) == len(problems)
    assert [plain(problem) for problem in read_records(path)] == [plain(problem) for problem in problems]
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_what_is_trained_from_comes_back(tmp_path, problems):
    path = path_of(tmp_path, "train-parquet")
    write(path, problems, "train-parquet")
    for made, read in zip(problems, read_records(path), strict=True):
        kept = {"head", "tail", "answer_prefix"} if not made.task.startswith("ruler-") else set()
        for name, value in plain(made).items():
            assert name in kept or plain(read)[name] == value, name


def official(path, format_name):
    """The file's records with the published fields alone."""
    text = path.read_text(encoding="utf-8")
    found = json.loads(text) if format_name == "eval-json" else [json.loads(line) for line in text.splitlines()]
    return [{name: record[name] for name in OFFICIAL[format_name]} for record in found]


def test_nvidia_s_own_records_are_taken_apart(tmp_path, problems):
    path = path_of(tmp_path, "nvidia")
    asked = [problem for problem in problems if problem.task in MEASURED or problem.task == "ruler-hqa"]
    write(path, asked, "nvidia")
    today = official(path, "nvidia")
    # Earlier code wrote the prefix into the prompt, and all of it into a chat template.
    chat = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n{}"
    older = [{**record, "input": chat.format(record["input"], record["answer_prefix"])} for record in today]
    for record in older:
        del record["answer_prefix"]
    for records, wrapped in ((today, False), (older, True)):
        file = write_lines(tmp_path / f"validation-{wrapped}.jsonl", records)
        for made, read, record in zip(asked, read_records(file), records, strict=True):
            assert (read.question, read.context, read.answers) == (made.question, made.context, made.answers)
            assert read.prompt(read.context) == record["input"] + record.get("answer_prefix", "")
            assert read.metric == ("ruler_part" if made.task[:2] == "qa" or made.task == "ruler-hqa" else "ruler_all")
            assert read.max_tokens == made.max_tokens
            assert read.length == made.length
            if not wrapped:
                assert read.prompt("CONTEXT") == made.prompt("CONTEXT")


def test_a_prompt_of_an_unknown_template_ends_with_its_question(tmp_path):
    told = "Read the letters.\n\nDear Ann,\n\nthe key is under the mat.\n\n"
    records = [
        {"index": 7, "input": told + "Where is the key?\nAnswer briefly.", "outputs": ["under the mat"], "length": 99},
        {"index": 8, "input": "All in\n" + "one paragraph. " * 200 + "\nWhere is the key? ", "outputs": "mat"},
    ]
    first, second = read_records(write_lines(tmp_path / "own.jsonl", records))
    assert (first.question, first.context) == ("Where is the key?\nAnswer briefly.", told.strip())
    assert first.prompt(first.context) == records[0]["input"]
    assert (first.id, first.metric, first.length) == ("ruler-7", "ruler_all", 99)
    assert first.notes["frame"].startswith("unknown")
    assert (second.question, second.answers) == ("Where is the key?", ("mat",))
    assert second.prompt(second.context) == records[1]["input"]
    with pytest.raises(InputError, match=r"one\.jsonl:1 is no record of the format nvidia: its prompt is one line"):
        read_records(write_lines(tmp_path / "one.jsonl", [{"input": "Who?", "outputs": ["a"]}]))


def test_memagent_s_own_records_are_read(tmp_path, problems):
    path = path_of(tmp_path, "memagent")
    asked = [problem for problem in problems if problem.task in MEASURED]
    write(path, asked, "memagent")
    file = write_lines(tmp_path / "eval_niah_single_1_8192.json", official(path, "memagent"))
    for made, read in zip(asked, read_records(file), strict=True):
        assert (read.question, read.context, read.answers) == (made.question, made.context, made.answers)
        assert (read.metric, read.max_tokens) == (made.metric, MEASURED[made.task])
        assert (read.answer_prefix, read.length) == (made.answer_prefix, made.length)


def test_the_published_evaluation_is_read(tmp_path, problems):
    (asked,) = (problem for problem in problems if problem.task == "ruler-hqa")
    path = path_of(tmp_path, "eval-json")
    write(path, [asked] * 3, "eval-json")
    found = official(path, "eval-json")
    assert [record["index"] for record in found] == [0, 1, 2]
    file = tmp_path / "eval_20.json"
    file.write_text(json.dumps(found), encoding="utf-8")
    read = read_records(file)
    assert [problem.id for problem in read] == ["ruler-hqa-20-0", "ruler-hqa-20-1", "ruler-hqa-20-2"]
    assert (read[0].metric, read[0].task, read[0].max_tokens) == ("sub_em", "ruler-hqa", 32)
    assert read[0].prompt(read[0].context) == asked.prompt(asked.context)
    assert read[0].notes == {"num_docs": 20}


def test_the_training_parquet_has_the_official_columns(tmp_path, problems):
    from pyarrow import parquet

    (asked,) = (problem for problem in problems if problem.task == "ruler-hqa")
    path = path_of(tmp_path, "train-parquet")
    write(path, [asked] * 130, "train-parquet")
    table = parquet.read_table(path)
    assert tuple(table.column_names) == OFFICIAL["train-parquet"]
    assert table.num_rows == 130
    record = table.slice(129).to_pylist()[0]
    assert record["prompt"] == [{"role": "user", "content": asked.question}]
    assert record["reward_model"] == {"style": "rule", "ground_truth": list(asked.answers)}
    assert (record["data_source"], record["ability"], record["context"]) == ("hotpotqa", "memory", asked.context)
    about = {"index": 129, "question": asked.question, "num_docs": 20}
    assert {name: record["extra_info"][name] for name in about} == about


def test_a_published_training_parquet_is_read(tmp_path):
    import pyarrow
    from pyarrow import parquet

    record = {
        "data_source": "hotpotqa",
        "prompt": [{"role": "user", "content": "Who?"}],
        "context": "Document 1:\nA\nAnn.",
        "ability": "memory",
        "reward_model": {"style": "rule", "ground_truth": ["Ann", "Anna"]},
        "extra_info": {"index": 5, "question": "Who?", "num_docs": 1},
    }
    parquet.write_table(pyarrow.Table.from_pylist([record]), tmp_path / "train.parquet")
    (problem,) = read_records(tmp_path / "train.parquet")
    assert (problem.question, problem.context, problem.answers) == ("Who?", record["context"], ("Ann", "Anna"))
    assert (problem.task, problem.metric, problem.id) == ("ruler-hqa", "sub_em", "ruler-hqa-1-5")
    assert problem.tail.endswith("Question: Who?") and problem.notes == {"num_docs": 1, "dataset": "hotpotqa"}


@pytest.mark.parametrize("format_name", ["nvidia", "memagent"])
def test_loaders_of_tables_take_what_is_written(tmp_path, problems, format_name):
    from pyarrow import json as tables

    path = path_of(tmp_path, format_name)
    write(path, problems, format_name)
    table = tables.read_json(path, tables.ReadOptions(block_size=1 << 26))
    assert table.num_rows == len(problems)
    assert set(OFFICIAL[format_name]) <= set(table.column_names)


def test_documents_in_files_are_written_as_their_text(tmp_path):
    (tmp_path / "book.txt").write_text("The house is Clara's.", encoding="utf-8")
    given = {"id": "b", "task": "t", "question": "Whose?", "answers": ("Clara",), "metric": "em"}
    write(tmp_path / "out.jsonl", [Problem(**given, files=(str(tmp_path / "book.txt"),))], "memagent")
    (problem,) = read_records(tmp_path / "out.jsonl")
    assert problem.context == "The house is Clara's." and not problem.files


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"input": 5, "outputs": ["a"]}, "format nvidia: the field 'input' must be a text, not 5"),
        ({"input": "a\n\nb", "outputs": []}, "format nvidia: there is no answer"),
        ({"input": "a\n\nb", "outputs": None}, "format nvidia: there is no answer"),
        ({"input": "a\n\nb", "outputs": ["a"], "length": "8k"}, "the field 'length' must be a whole number, not '8k'"),
        ({"input": "ab", "outputs": ["a"], "context_span": [1, 9]}, "does not lie in an input of 2 characters"),
        ({"input": "ab", "outputs": ["a"], "context_span": [0, 1]}, "the field 'question' is missing"),
        ({"input": "q", "outputs": ["a"], "context": [3, 17]}, "its context is a list of document numbers"),
        ({"input": "q", "outputs": ["a"], "context": None}, "format memagent: the field 'context' must be a text"),
        ({"input": "q", "answers": ["a"], "context": "c", "metric": "os:system"}, "there is no metric 'os:system'"),
        ({"input": "q", "answers": ["a"], "context": "c", "notes": "["}, "format eval-json: "),
        ({"input": "q", "answers": ["a"], "context": "c", "notes": "[]"}, "the field 'notes' must be an object"),
        ({"input": "q", "answers": ["a"], "context": "c", "max_tokens": True}, "'max_tokens' must be a whole number"),
        ({"prompt": [], "context": "c", "reward_model": {"ground_truth": ["a"]}}, "format train-parquet: "),
        ({"prompt": [{}], "context": "c", "reward_model": {}}, "is missing"),
    ],
)
def test_faulty_records_are_named(tmp_path, record, message):
    path = write_lines(tmp_path / "bad.jsonl", [record])
    with pytest.raises(InputError) as caught:
        read_records(path)
    assert one_line(caught).startswith(f"{path}:1 is no record of the format ") and message in one_line(caught)


def test_files_of_no_format_are_one_line(tmp_path):
    lines = write_lines(tmp_path / "lines.jsonl", [{"a": 1}])
    with pytest.raises(InputError, match=r"lines\.jsonl:1: a: is no field"):
        read_records(lines)
    (tmp_path / "list.json").write_text('[{"a": 1, "b": 2}]', encoding="utf-8")
    with pytest.raises(InputError, match=r"list\.json, record 1 is of no known format: its fields are a, b"):
        read_records(tmp_path / "list.json")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(DocumentError, match="is no readable Parquet file"):
        read_records(tmp_path / "bad.parquet")
    for name in ("gone.jsonl", "."):
        with pytest.raises(DocumentError, match="cannot be read"):
            read_records(tmp_path / name)


@pytest.mark.parametrize("format_name", WRITERS)
def test_nothing_is_overwritten_and_nothing_is_left_half_written(tmp_path, problems, format_name):
    path = path_of(tmp_path, format_name)
    broken = Problem(id="b", task="t", question="\ud800", answers=("a",), metric="em", context="c")

    def runs_out():
        yield problems[0]
        raise OptionError("too few")

    with pytest.raises(InputError, match="half of a surrogate pair"):
        write(path, [problems[0], broken], format_name)
    with pytest.raises(OptionError, match="too few"):
        write(path, runs_out(), format_name)
    assert list(tmp_path.iterdir()) == []
    write(path, problems[:1], format_name)
    before = path.read_bytes()
    with pytest.raises(InputError, match="is there already: delete it or name another one"):
        write(path, problems[:1], format_name)
    assert path.read_bytes() == before


def test_places_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"file is no folder to write to"):
        check_new(tmp_path / "file" / "deeper" / "eval.json")
    check_new(tmp_path / "new" / "deeper" / "eval.json")
    with pytest.raises(OptionError, match="there is no format csv: take nvidia, memagent"):
        write(tmp_path / "out.csv", [], "csv")
