"""`memagent eval` from end to end against a live endpoint: what it writes, says, refuses, and goes on with."""

import json
import os
import re
import signal
from dataclasses import replace

import pytest
from matplotlib import image
from tests.fake_endpoint import FakeEndpoint, Fault, prompt_of
from tests.models import tiny

from memagent.evaluation.recipe import Recipe
from memagent.reading import Journal

FILLER = "On day {} of {} the tide came in and the tide went out again, as it always does.\n"
NEEDLE = re.compile(r"The magic number of day (\d+) is (\d+)\.")
OUTPUTS = ("recipe.toml", "results.jsonl", "report.md", "report.html", "curve.png", "cost.png")


def remembers(body):
    """Notes the sentence that tells; answers with it from whatever the prompt shows."""
    prompt = prompt_of(body)
    section = prompt.rpartition("</section>")[0].rpartition("<section>")[2] if 'Reply "Keep"' in prompt else None
    found = NEEDLE.search(prompt if section is None else section)
    if section is not None:
        return f"Add: {found[0]}" if found else "Keep"
    if prompt.endswith("Notes:"):
        return found[0] if found else "Nothing"
    return f"\\boxed{{{found[2]}}}" if found else "\\boxed{unknown}"


def write_problems(path, lengths=(40, 160), count=3):
    """Needles in so many sentences, in the schema for one's own problems."""
    with path.open("w", encoding="utf-8") as file:
        for fillers in lengths:
            for number in range(count):
                lines = [FILLER.format(day, fillers) for day in range(fillers)]
                day = 10 * fillers + number
                lines.insert(fillers // 2, f"The magic number of day {day} is {1000 + number}.\n")
                record = {"id": f"{fillers}-{number}", "question": f"What is the magic number of day {day}?",
                          "answers": [str(1000 + number)], "context": "".join(lines)}  # fmt: skip
                file.write(json.dumps(record) + "\n")
    return path


@pytest.fixture
def problems(tmp_path):
    return write_problems(tmp_path / "problems.jsonl")


@pytest.fixture
def pictures():
    """Asked for by tests that look at the pictures."""


@pytest.fixture(autouse=True)
def no_drawing(request, monkeypatch):
    """Drawing takes longer than all the rest, so other tests go without it."""
    if "pictures" not in request.fixturenames:
        for name in ("draw_curve", "draw_cost"):
            monkeypatch.setattr(f"memagent.evaluation.reporting.{name}", lambda table, path: path.write_bytes(b""))


@pytest.fixture
def evaluate(memagent, endpoint, tmp_path):
    """Run `memagent eval` with the live endpoint's model, small chunks and the folder `out`."""
    endpoint.reply = remembers
    endpoint.usage = lambda body, seen, said: None  # it has no tokenizer to speak of

    def call(*arguments, url=None, output=None):
        model = ("--model", "fake", "--base-url", url or endpoint.url, "--window", "2k", "--retries", 1)
        small = ("--protocol", "gated", "--chunk-tokens", 200, "--memory-tokens", 60)
        return memagent("eval", *model, *small, "-o", output or tmp_path / "out", *arguments)

    return call


def results(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def with_a_window(body):
    """`remembers`, as an endpoint whose window is too small for the long problems."""
    if len(prompt_of(body)) > 8000:
        return {"error": {"message": "the maximum context length is 2048 tokens", "code": "context_length_exceeded"}}
    return remembers(body)


def test_a_whole_run(evaluate, problems, endpoint, tmp_path, pictures):
    endpoint.reply = with_a_window
    result = evaluate(problems, "--baseline", "full,truncated,no-context,bm25,map-reduce")
    assert result.status == 0
    out = tmp_path / "out"
    found = results(out)
    assert len(found) == 6 * 6 and {one["status"] for one in found} == {"answered", "overflow"}
    right = {(one["method"], one["length"]): one["score"] for one in found}
    short, long = sorted({one["length"] for one in found})
    assert right["reading", short] == right["reading", long] == right["bm25", long] == right["map-reduce", long] == 1
    assert right["no-context", short] == 0 and right["full", long] == 0 and right["truncated", long] == 0
    journal = Journal(out / "readings")
    read = [one for one in found if one["method"] == "reading"]
    assert all(any(turn["memory"] for turn in journal.turns(one["reading_id"])) for one in read)
    journal.close()
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "| reading | 100.0 [44, 100] n=3 |" in text and "Compared with reading" in text
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('class="detail"') == 36 and "unfinished" not in page
    assert all(image.imread(out / name).std() > 0.05 for name in ("curve.png", "cost.png"))
    assert "n=3" in result.out and str(out / "report.html") in result.out
    assert "3 results have no answer and count as wrong; the first: full:" in result.out
    assert not [
        path for path in out.iterdir() if path.name not in (*OUTPUTS, "data.json", "peaks.json", "readings", ".lock")
    ]


def test_the_recipe_runs_the_same_again(evaluate, memagent, problems, tmp_path, endpoint):
    evaluate(problems, "--baseline", "no-context", "--seed", 7, "--temperature", 0.5, "--limit", 2)
    recipe = (tmp_path / "out" / "recipe.toml").read_text(encoding="utf-8")
    assert "temperature = 0.5" in recipe and recipe.count("seed = 7") == 2 and "top_p = 1.0" in recipe
    again = memagent("eval", tmp_path / "out" / "recipe.toml", "-o", tmp_path / "again")
    assert again.status == 0
    names = ("problem", "method", "reply", "score", "prompt_tokens", "model_calls")
    first, second = ([[one[name] for name in names] for one in results(tmp_path / name)] for name in ("out", "again"))
    assert sorted(first, key=str) == sorted(second, key=str) and len(first) == 8
    assert {body["temperature"] for body in endpoint.bodies} == {0.5} and all(
        "seed" in body for body in endpoint.bodies
    )


def test_several_models_stand_side_by_side(evaluate, problems, tmp_path, endpoint):
    assert evaluate(problems, "--also", "other", "--baseline", "no-context").status == 0
    assert {one["method"] for one in results(tmp_path / "out")} == {
        f"{model} {kind}" for model in ("fake", "other") for kind in ("reading", "no-context")
    }
    assert {body["model"] for body in endpoint.bodies} == {"fake", "other"}


def test_ruler_without_data_runs_the_eleven_generated_tasks_and_says_so(evaluate, tmp_path):
    tokenizer = tiny.write_tokenizer(tmp_path / "tokenizer")
    result = evaluate("ruler", "--lengths", "4k", "--limit", 1, "--tokenizer", tokenizer, "--chunk-tokens", 500)
    assert result.status == 0 and "qa_1 and qa_2 left out" in result.err
    tasks = [one["task"] for one in results(tmp_path / "out")]
    assert len(set(tasks)) == len(tasks) == 11
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "Every task counts the same" in text and all(f"### {task}" in text for task in tasks)


BAD = [
    (["nosuch"], "there is no suite or file nosuch"),
    (["ruler", "--tasks", "nosuch", "--tokenizer", "TOKENIZER"], "there is no RULER task nosuch"),
    (["FILE", "--baseline", "nosuch"], "there is no method nosuch"),
    (["FILE", "--protocols", "nosuch"], "there is no method nosuch"),
    (["FILE", "--metric", "nosuch"], "there is no metric nosuch"),
    (["FILE", "--metric", "os:nosuch"], "nosuch"),
    (["FILE", "--lengths", "8k"], "leave out --lengths"),
    (["FILE", "--documents", "50"], "--documents is for"),
    (["FILE", "--baseline", "full+yarn"], "needs a local model"),
    (["FILE", "--baseline", "full,full"], "named twice"),
    (["FILE", "--limit", "0"], "--limit"),
    (["FILE", "--chunk-tokens", "9k"], "do not fit"),
    (["FILE", "--temperature", "9"], "--temperature"),
    (["ruler", "--lengths", "many"], "no number of tokens"),
    (["ruler", "--lengths", "4k"], "name the endpoint's --tokenizer"),
    (["ruler", "--lengths", "4k", "--tokenizer", "TOKENIZER", "--tasks", "qa_1"], "squad"),
    (["ruler", "--lengths", "100", "--tokenizer", "TOKENIZER"], "needs at least"),
    (["ruler", "--lengths", "4k", "--tokenizer", "TOKENIZER", "--haystack", "nosuch.txt"], "nosuch.txt"),
    (["ruler-hqa", "--documents", "50"], "hotpotqa"),
    (["ruler-hqa", "--documents", "50", "--source", "nosuch.json"], "nosuch.json"),
    (["BAD.toml"], "unknown"),
    (["RECIPE.toml", "--limit", "3"], "a recipe says all"),
    (["nosuch.toml"], "nosuch.toml"),
    (["EMPTY"], "empty"),
    (["BROKEN"], "problems.jsonl:1"),
]


@pytest.mark.parametrize(("given", "says"), BAD, ids=[" ".join(given) for given, _ in BAD])
def test_bad_input_is_one_line_and_asks_nothing(evaluate, memagent, endpoint, problems, tmp_path, given, says):
    (tmp_path / "bad.toml").write_text('suite = "ruler"\nunknown = 1\n')
    (tmp_path / "good.toml").write_text('suite = "ruler"\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "problems.jsonl").write_text('{"question": 1}\n')
    names = {
        "FILE": problems,
        "TOKENIZER": tiny.write_tokenizer(tmp_path / "tokenizer"),
        "EMPTY": tmp_path / "empty.jsonl",
        "BROKEN": tmp_path / "broken" / "problems.jsonl",
        "BAD.toml": tmp_path / "bad.toml",
        "RECIPE.toml": tmp_path / "good.toml",
    }
    arguments = [names.get(one, one) for one in given]
    is_recipe = str(arguments[0]).endswith(".toml")
    run = memagent if is_recipe else evaluate
    result = run("eval", *arguments, "-o", tmp_path / "out") if is_recipe else run(*arguments)
    assert result.status == 2 and says in result.line and result.out == ""
    assert endpoint.bodies == []
    assert not (tmp_path / "out").exists()


def test_the_data_that_a_suite_needs_is_told(evaluate, tmp_path):
    line = evaluate("ruler-hqa", "--documents", "50").line
    assert "--source" in line
    tokenizer = tiny.write_tokenizer(tmp_path / "tokenizer")
    line = evaluate("ruler", "--lengths", "4k", "--tasks", "qa_2", "--tokenizer", tokenizer).line
    assert "--source" in line and "hotpotqa" in line


def test_folders_that_are_taken(evaluate, problems, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.tex").write_text("mine")
    for output in ("thesis", "thesis/a.tex"):
        assert "name another folder" in evaluate(problems, output=tmp_path / output).line
    assert evaluate(problems).status == 0
    assert "go on with --resume" in evaluate(problems).line
    result = evaluate(problems, "--resume", "--limit", 9)
    assert result.status == 2 and "another --limit" in result.line
    assert (tmp_path / "thesis" / "a.tex").read_text() == "mine"


def test_an_endpoint_that_is_down(evaluate, problems, endpoint, tmp_path):
    endpoint.stop()
    result = evaluate(problems)
    assert result.status == 2 and "127.0.0.1" in result.line and not (tmp_path / "out").exists()


def test_a_second_model_is_tried_before_the_first_one_works(memagent, evaluate, problems, endpoint, tmp_path):
    evaluate(problems, "--limit", 1)
    one = Recipe.read(tmp_path / "out" / "recipe.toml")
    gone = replace(one.models[0], model="gone", base_url="http://127.0.0.1:1/v1")
    recipe = tmp_path / "two.toml"
    recipe.write_text(replace(one, models=(*one.models, gone)).text())
    asked = len(endpoint.bodies)
    result = memagent("eval", recipe, "-o", tmp_path / "two")
    assert result.status == 2 and "127.0.0.1:1" in result.line
    assert len(endpoint.bodies) == asked and not (tmp_path / "two").exists()


def test_an_endpoint_that_goes_down_is_gone_on_with(evaluate, problems, endpoint, tmp_path):
    def fails_later(body):
        if endpoint.answered > 20:
            endpoint.faults.extend([Fault(status=503)] * 50)
        return remembers(body)

    endpoint.reply = fails_later
    result = evaluate(problems, "--at-once", 2)
    assert result.status == 3 and "--resume" in result.err
    done = len(results(tmp_path / "out"))
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert 0 < done < 6 and f"unfinished: {done} of 6 results" in text
    endpoint.reply = remembers
    endpoint.faults.clear()
    assert evaluate(problems, "--resume").status == 0
    assert [one["score"] for one in results(tmp_path / "out")] == [1.0] * 6
    assert "unfinished" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_losing_one_of_three_endpoints_changes_no_result(evaluate, problems, endpoint, tmp_path):
    assert evaluate(problems, output=tmp_path / "alone").status == 0
    with FakeEndpoint(remembers) as second, FakeEndpoint() as third:
        for one in (second, third):
            one.usage = endpoint.usage

        def is_lost(body):
            if third.answered >= 5:
                third._stopping.set()
            return remembers(body)

        third.reply = is_lost
        result = evaluate(problems, url=",".join(one.url for one in (endpoint, second, third)))
        assert result.status == 0 and third.answered >= 5 and second.answered > 5
    names = ("problem", "status", "reply", "answer", "score", "changes", "false_changes", "quotes", "exact")
    told = [[tuple(one[name] for name in names) for one in results(tmp_path / run)] for run in ("alone", "out")]
    assert sorted(told[0]) == sorted(told[1])
    assert Recipe.read(tmp_path / "out" / "recipe.toml").at_once == 24


def test_ctrl_c_leaves_a_report_and_can_be_gone_on_with(evaluate, problems, endpoint, tmp_path):
    def interrupts(body):
        if endpoint.answered == 25:
            os.kill(os.getpid(), signal.SIGINT)
        return remembers(body)

    endpoint.reply = interrupts
    result = evaluate(problems, "--at-once", 2)
    assert result.status == 130 and "go on with the same command and --resume" in result.line
    done = results(tmp_path / "out")
    assert 0 < len(done) < 6 and str(tmp_path / "out" / "report.html") in result.err
    assert "unfinished" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    asked = [prompt_of(body) for body in endpoint.bodies]
    assert evaluate(problems, "--resume").status == 0
    assert results(tmp_path / "out")[: len(done)] == done and len(results(tmp_path / "out")) == 6
    again = [prompt_of(body) for body in endpoint.bodies][len(asked) :]
    assert len(set(asked) & set(again)) <= 2  # the calls that were under way


def test_a_file_that_was_edited_is_not_gone_on_with(evaluate, problems, endpoint, tmp_path):
    assert evaluate(problems, "--limit", 2).status == 0
    problems.write_text(problems.read_text().replace("1001", "1009"))
    asked = len(endpoint.bodies)
    result = evaluate(problems, "--limit", 2, "--resume")
    assert result.status == 2 and "problems.jsonl has changed since" in result.line and len(endpoint.bodies) == asked


def test_a_document_that_cannot_be_read_is_one_failed_problem(evaluate, tmp_path):
    (tmp_path / "good.txt").write_text("The magic number of day 1 is 1001.\n" + FILLER.format(1, 1) * 10)
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7\nthis is no pdf")
    records = [{"question": f"What is the magic number of day 1 ({name})?", "answers": ["1001"], "document": name,
                "length": 1000} for name in ("good.txt", "bad.pdf")]  # fmt: skip
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = evaluate(file, "--baseline", "truncated")
    assert result.status == 0 and "bad.pdf" in result.out
    found = {(one["method"], one["question"][-9:-2].strip("(")): one for one in results(tmp_path / "out")}
    assert [found[method, "bad.pdf"]["status"] for method in ("reading", "truncated")] == ["failed"] * 2
    assert len(found) == 4 and sum(one["score"] for one in found.values()) == 2


def test_progress_where_no_terminal_is(evaluate, problems, endpoint, monkeypatch):
    monkeypatch.setattr("memagent.cli.eval_view.FIRST_LINE", 0.0)
    monkeypatch.setattr("memagent.evaluation.progress.SETTLED", 0.0)
    result = evaluate(problems)
    lines = [line for line in result.err.splitlines() if " results, " in line]
    assert lines[0].startswith("reading · ") and lines[0].endswith(": 0 of 6 results, 0%")
    assert re.fullmatch(r"reading · \S+: 6 of 6 results, 100%, about 0 s left", lines[-1])
