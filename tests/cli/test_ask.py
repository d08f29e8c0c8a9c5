"""`memagent ask` as a user meets it, against a live endpoint."""

import io
import json

import pytest
from tests.fake_endpoint import prompt_of
from tests.reading.oracle import SECTION, document_text
from tests.reading.test_protocols import PAPER_ANSWER, PAPER_UPDATE

from memagent import open_document

FIELDS = ["problem", "answer", "status", "evidence", "memory", "coverage", "usage", "reading_id", "settings"]


def oracle(body):
    """Remembers what Key 3 is, in either protocol."""
    text = prompt_of(body)
    if "<section>" not in text:
        return "It is \\boxed{value3}."
    if "Key 3 is value3." in SECTION.search(text)[1]:
        return "Add: Key 3 is value3." if "Keep" in text else "Key 3 is value3."
    return "Keep" if "Keep" in text else text.split("<memory>\n")[1].split("\n</memory>")[0]


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(document_text(60), encoding="utf-8")
    return path


def test_an_answer_with_evidence(ask, endpoint, book):
    endpoint.reply = oracle
    result = ask(book, "-q", "What is Key 3?")
    assert result.status == 0
    assert "value3" in result.out
    assert "“Key 3 is value3.”" in result.out
    assert "book.txt, characters" in result.out


@pytest.mark.parametrize("protocol", ["paper", "gated"])
def test_json_is_the_documented_interface(ask, endpoint, book, protocol):
    endpoint.reply = oracle
    result = ask(book, "-q", "What is Key 3?", "--json", "--protocol", protocol, "--read-ahead", 4)
    reading = result.json
    assert list(reading)[: len(FIELDS)] == FIELDS
    assert (reading["answer"], reading["status"]) == ("value3", "answered")
    assert reading["coverage"]["read"] == reading["coverage"]["chunks"] > 5
    assert set(reading["usage"]) >= {
        "model_calls", "prompt_tokens", "completion_tokens", "seconds", "cost_usd",
    }  # fmt: skip
    (evidence,) = reading["evidence"]
    text = book.read_text(encoding="utf-8")
    assert text[evidence["start"] : evidence["end"]] == evidence["quote"] == "Key 3 is value3."
    assert (evidence["source"], evidence["page"]) == ("book.txt", None)
    assert reading["settings"]["protocol"] == protocol


def test_several_problems_are_json_lines_in_order(ask, endpoint, book):
    endpoint.reply = oracle
    result = ask(book, "-q", "What is Key 3?", "-q", "And once more?", "--json")
    assert [json.loads(line)["problem"] for line in result.out.splitlines()] == [
        "What is Key 3?",
        "And once more?",
    ]


def test_stdin_is_read_and_kept(memagent, ask, endpoint, book, monkeypatch, home):
    endpoint.reply = oracle
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(book.read_bytes())))
    reading = ask("-", "-q", "What is Key 3?", "--json").json
    assert reading["answer"] == "value3"
    assert [path.read_bytes() for path in (home / "spool").iterdir()] == [book.read_bytes()]


def test_a_folder_says_what_it_skips(ask, endpoint, book):
    endpoint.reply = oracle
    (book.parent / "folder").mkdir()
    book.rename(book.parent / "folder" / "book.txt")
    (book.parent / "folder" / "image.bin").write_bytes(bytes(range(256)) * 8)
    result = ask(book.parent / "folder", "-q", "What is Key 3?")
    assert result.status == 0
    assert "skipped image.bin" in result.err


def test_a_dry_run_names_the_calls_that_it_cannot_foresee(ask, book):
    given = (book, "-q", "What is Key 3?", "--dry-run")
    assert "second looks of --sift, --reread" in ask(*given, "--protocol", "gated", "--sift", "0.9", "--reread").out
    assert "second looks" not in ask(*given).out


def test_dry_run_asks_nothing(ask, endpoint, book):
    result = ask(book, "-q", "What is Key 3?", "--dry-run", "--price", "1,2")
    assert result.status == 0
    assert endpoint.bodies == []
    assert "chunks" in result.out and "$" in result.out
    forecast = ask(book, "-q", "What is Key 3?", "--dry-run", "--json").json
    endpoint.reply = oracle
    reading = ask(book, "-q", "What is Key 3?", "--json").json
    assert forecast["chunks"] == reading["coverage"]["chunks"]
    assert forecast["model_calls"] == reading["usage"]["model_calls"]


def test_max_cost_stops_and_resume_goes_on(ask, memagent, endpoint, book, journal):
    endpoint.reply = oracle
    stopped = ask(book, "-q", "What is Key 3?", "--price", "10,10", "--max-cost", "0.03")
    assert stopped.status == 3
    assert "--max-cost" in stopped.line
    reading_id = journal.entries()[0].id
    assert f"memagent readings resume {reading_id}" in stopped.err
    assert journal.spent(reading_id)["cost_usd"] <= 0.03
    before = len(endpoint.bodies)
    again = ask(book, "-q", "What is Key 3?", "--price", "10,10", "--resume", "--json")
    assert (again.status, again.json["reading_id"]) == (0, reading_id)
    assert again.json["usage"]["model_calls"] == len(endpoint.bodies)
    assert before > 0


def test_resume_returns_a_finished_reading_without_a_call(ask, endpoint, book):
    endpoint.reply = oracle
    first = ask(book, "-q", "What is Key 3?", "--json").json
    before = len(endpoint.bodies)
    assert ask(book, "-q", "What is Key 3?", "--json", "--resume").json == first
    assert len(endpoint.bodies) == before


def test_paper_prompts_arrive_byte_for_byte_with_the_whole_document(ask, endpoint, tmp_path):
    text = "\n  First. " + document_text(30) + "한국어 문장입니다. 中文句子。\t\n"
    path = tmp_path / "doc.txt"
    path.write_bytes(text.encode())
    endpoint.reply = lambda body: f"memory {len(endpoint.bodies)} "
    assert ask(path, "-q", " What {is} it? ", "--protocol", "paper").status == 0
    shown, memory = [], "No previous memory"
    frame = PAPER_UPDATE.replace("PROBLEM {x}", "What {is} it?")
    for number, body in enumerate(endpoint.bodies[:-1], start=1):
        before, after = frame.replace("MEMORY", memory).split("CHUNK")
        prompt = prompt_of(body)
        assert prompt.startswith(before) and prompt.endswith(after)
        assert [message["role"] for message in body["messages"]] == ["user"]
        shown.append(prompt[len(before) : len(prompt) - len(after)])
        memory = f"memory {number} "
    assert "".join(shown) == text.strip()
    answer = PAPER_ANSWER.replace("PROBLEM {x}", "What {is} it?").replace("MEMORY", memory)
    assert prompt_of(endpoint.bodies[-1]) == answer


def test_readings_can_be_listed_shown_exported_and_deleted(ask, memagent, endpoint, book, tmp_path):
    endpoint.reply = oracle
    reading = ask(book, "-q", "What is Key 3?", "--json", "--protocol", "gated").json
    short = reading["reading_id"][:6]
    assert reading["reading_id"] in memagent("readings").out
    assert json.loads(memagent("readings", "list", "--json").out)["state"] == "finished"
    shown = memagent("readings", "show", short).out
    assert "Key 3 is value3." in shown and "····" in shown.replace("\n", "")
    whole = json.loads(memagent("readings", "show", short, "--json").out)
    assert sum(turn["memory"] is not None for turn in whole["turns"]) == 1
    assert "".join(document_text(60)[t["start"] : t["end"]] for t in whole["turns"]) == document_text(60)
    target = tmp_path / "out.json"
    assert memagent("readings", "export", short, "-o", target).status == 0
    assert json.loads(target.read_text(encoding="utf-8"))["result"]["answer"] == "value3"
    assert memagent("readings", "resume", short, "--json").json == reading
    assert memagent("readings", "delete", short).status == 0
    assert memagent("readings", "show", short).status == 2


def test_prune_deletes_what_is_old(ask, memagent, endpoint, book):
    endpoint.reply = oracle
    ask(book, "-q", "What is Key 3?")
    assert "deleted 0 readings" in memagent("readings", "prune").err
    assert "deleted 1 readings" in memagent("readings", "prune", "--days", "0").err


def test_resume_by_id_uses_the_settings_it_began_with(ask, memagent, endpoint, book, journal):
    endpoint.reply = oracle
    ask(book, "-q", "What is Key 3?", "--price", "10,10", "--max-cost", "0.03", "--protocol", "gated")
    reading_id = journal.entries()[0].id
    assert memagent("readings", "resume", reading_id).status == 3  # the bound still holds
    result = memagent("readings", "resume", reading_id, "--json", "--max-cost", "5")
    assert result.status == 0, result.err
    assert (result.json["answer"], result.json["settings"]["chunk_tokens"]) == ("value3", 200)


def test_an_api_key_is_kept_nowhere(ask, endpoint, book, monkeypatch, home):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    endpoint.reply = oracle
    result = ask(book, "-q", "What is Key 3?", "--json", url=endpoint.url.replace("http://", "http://me:hidden@"))
    assert result.status == 0, result.err
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"very-secret" not in kept and b"hidden" not in kept
    assert "secret" not in result.out + result.err


def test_evidence_of_a_pdf_has_its_page(ask, endpoint, tmp_path):
    from reportlab.pdfgen.canvas import Canvas

    path = tmp_path / "report.pdf"
    canvas = Canvas(str(path))
    for page in range(1, 4):
        for line in range(30):
            canvas.drawString(72, 780 - 20 * line, f"Page {page} line {line} says nothing of note at all.")
        if page == 2:
            canvas.drawString(72, 100, "Key 3 is value3.")
        canvas.showPage()
    canvas.save()
    endpoint.reply = oracle
    (evidence,) = ask(path, "-q", "What is Key 3?", "--json").json["evidence"]
    assert evidence["page"] == 2
    source = open_document(path).sources[0]
    text = "".join(block.text for block in source.blocks())
    assert text[evidence["start"] : evidence["end"]] == evidence["quote"]


def test_help_and_completion(memagent):
    for command in ([], ["ask"], ["readings"], ["pull"], ["completion"]):
        shown = memagent(*command, "--help").out
        assert "memagent" in shown and "Usage" in shown
    for shell in ("bash", "zsh", "fish"):
        assert "_MEMAGENT_COMPLETE" in memagent("completion", shell).out
    assert memagent("--version").out.startswith("memagent ")


def test_square_brackets_and_control_characters_are_only_text(ask, endpoint, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "book.txt").write_text(document_text(60), encoding="utf-8")
    (tmp_path / "folder" / "[id].bin").write_bytes(bytes(range(256)) * 8)
    endpoint.reply = lambda body: "see [/b] and [red]this[/red] \x1b[31m \x1b]0;title\x07"
    result = ask(tmp_path / "folder", "-q", "What is [/i] it?", "--protocol", "paper")
    assert result.status == 0, result.err
    assert "[/b] and [red]this[/red]" in result.out and "[id].bin" in result.err
    assert "\x1b" not in result.out + result.err


def test_resume_goes_to_the_endpoint_it_began_with(ask, memagent, endpoint, book, journal, monkeypatch):
    endpoint.reply = oracle
    ask(book, "-q", "What is Key 3?", "--price", "10,10", "--max-cost", "0.03")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    result = memagent("readings", "resume", journal.entries()[0].id, "--max-cost", "5", "--concurrency", "2")
    assert result.status == 0, result.err
