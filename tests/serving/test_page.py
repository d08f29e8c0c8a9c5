"""The page in real Chromium: ask, watch, step, look at evidence, edit a memory, compare. Needs Chromium on the machine.

With MEMAGENT_SHOTS=FOLDER the pictures of docs/serving.md are taken on the way.
"""

import os
import shutil
from pathlib import Path

import pytest
from tests.reading.oracle import document_text
from tests.serving.conftest import Held
from tests.serving.test_inspector import post, uploaded

from memagent.models.scripted import tagged

playwright = pytest.importorskip("playwright.sync_api")
FOUND = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = next((path for path in FOUND if path), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

TEXT = document_text(40)
FACTS = [f"Key {n} is value{n}." for n in range(40) if n % 7 == 3]
SHOTS = os.environ.get("MEMAGENT_SHOTS")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    # The server may be gone before the page is, which looks for news.
    assert [fault for fault in faults if not fault.startswith("Failed to load resource")] == []


def shot(page, name):
    if SHOTS:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(150)
            page.screenshot(path=str(Path(SHOTS) / f"page-{name}-{scheme}.png"))
        page.emulate_media(color_scheme="light")


def asked(page, server, tmp_path, text=TEXT, problem="Which keys have a value?"):
    (tmp_path / "book.txt").write_text(text)
    page.goto(server.root)
    page.set_input_files("input[type=file]", str(tmp_path / "book.txt"))
    page.fill("input[required]", problem)
    page.click("button[type=submit]")
    page.wait_for_selector(".answer")


def test_a_document_is_asked_and_its_memory_is_stepped_through(page, serving, tmp_path):
    asked(page, serving(), tmp_path)
    assert FACTS[-1] in page.inner_text(".answer")
    page.keyboard.press("Home")
    assert page.inner_text(".place").startswith("Chunk 1 of ")
    page.keyboard.press("ArrowDown")
    assert "the memory changed here" in page.inner_text(".place")
    assert page.inner_text("pre.memory ins").strip() == FACTS[0]
    page.wait_for_function("fact => document.querySelector('pre.source mark')?.innerText === fact", arg=FACTS[0])
    page.keyboard.press("ArrowRight")
    assert page.query_selector("pre.memory ins") is None and FACTS[0] in page.inner_text("pre.memory")
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    assert page.inner_text("pre.memory ins").strip() == FACTS[-1]
    shot(page, "reading")


def test_evidence_is_shown_in_the_source(page, serving, tmp_path):
    asked(page, serving(), tmp_path)
    quote = page.inner_text(".evidence a >> nth=1").partition("”")[0].strip("“ \n")
    page.click(".evidence a >> nth=1")
    assert "the memory changed here" in page.inner_text(".place")
    page.wait_for_function("quote => document.querySelector('pre.source mark')?.innerText === quote", arg=quote)
    shot(page, "evidence")


def test_evidence_is_marked_where_it_stands_in_several_files_and_behind_emoji(page, serving, tmp_path):
    server = serving()
    ids = [
        uploaded(server, "Nothing \U0001f600 here.\n" * 40, name="a.txt"),
        uploaded(server, f"\U0001f600\U0001f600 {TEXT}"),
    ]
    begun = post(server, "/api/readings", {"file_ids": ids, "problem": "Which keys?"}).json()["id"]
    page.goto(f"{server.root}/#reading={begun}")
    page.wait_for_selector(".evidence a")
    for number, link in enumerate(page.query_selector_all(".evidence a")[:3]):
        quote = link.inner_text().partition("”")[0].strip("“ \n")
        page.click(f".evidence a >> nth={number}")
        page.wait_for_function("quote => document.querySelector('pre.source mark')?.innerText === quote", arg=quote)
        assert "the memory changed here" in page.inner_text(".place")


def test_a_file_is_dropped(page, serving):
    page.goto(serving().root)
    page.wait_for_selector("form.ask")
    held = page.evaluate_handle(
        "text => { const held = new DataTransfer(); held.items.add(new File([text], 'dropped.txt')); return held; }",
        TEXT,
    )
    page.dispatch_event("form.ask", "drop", {"dataTransfer": held})
    page.fill("input[required]", "Which keys?")
    page.click("button[type=submit]")
    page.wait_for_selector(".answer")
    assert "dropped.txt" in page.inner_text("header .quiet")


def test_a_reading_that_was_broken_off_is_gone_on_with(page, serving):
    model = Held(after=12, window=600)
    server = serving(model=model)
    begun = post(server, "/api/readings", {"file_ids": [uploaded(server)], "problem": "Which keys?"}).json()["id"]
    assert model.began.wait(10)
    server.loop.call_soon_threadsafe(server.service.end)
    model.go.set()
    page.goto(f"{server.root}/#reading={begun}")
    page.click("text=Go on with it")
    page.wait_for_selector(".answer")
    assert FACTS[-1] in page.inner_text(".answer")


def test_a_memory_is_edited_and_read_on_with(page, serving, tmp_path):
    asked(page, serving(), tmp_path)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    page.fill("textarea", "Key 99 is mine.")
    first = page.url
    page.click("text=Read on from here")
    page.wait_for_function("first => location.href !== first", arg=first)
    page.wait_for_selector(".answer:has-text('Key 99 is mine.')")
    assert FACTS[0] not in page.inner_text(".answer") and FACTS[-1] in page.inner_text(".answer")
    shot(page, "edited")
    page.wait_for_selector("a.beside")
    page.click("a.beside")
    page.wait_for_function("() => document.querySelectorAll('article.reading').length === 2")
    page.wait_for_function("() => document.querySelectorAll('.answer').length === 2")
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    places = [
        one.inner_text().partition("characters ")[2].partition("–")[2] for one in page.query_selector_all(".place")
    ]
    assert places[0].split(" ")[0] == places[1].split(" ")[0]
    shot(page, "compared")


def test_a_reading_is_watched_while_it_runs(page, serving, tmp_path):
    model = Held(after=12, window=600)
    server = serving(model=model)
    (tmp_path / "book.txt").write_text(TEXT)
    page.goto(server.root)
    page.set_input_files("input[type=file]", str(tmp_path / "book.txt"))
    page.fill("input[required]", "Which keys?")
    page.click("button[type=submit]")
    page.wait_for_selector("progress")
    page.wait_for_function("fact => document.querySelector('pre.memory')?.innerText.includes(fact)", arg=FACTS[0])
    shot(page, "live")
    assert page.query_selector(".answer") is None
    model.go.set()
    page.wait_for_selector(".answer")


def test_nothing_in_a_document_a_memory_or_an_answer_runs(page, serving, tmp_path):
    evil = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    text = TEXT.replace("Key 3 is value3.", f"Key 3 is value3. {evil}")

    def says(request):
        if "<section>" not in request.prompt.text:
            return f"\\boxed{{{evil}}}"
        return f"Add: Key 3 is value3. {evil}" if "value3. <" in tagged(request.prompt.text, "section") else "Keep"

    asked(page, serving(reply=says), tmp_path, text=text, problem=f"Which keys? {evil}")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("pre.source")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
    assert "<script>" in page.inner_text(".answer") and "<img" in page.inner_text("h2 >> nth=-1")


def test_a_key_is_asked_for(page, serving, tmp_path):
    server = serving(keys=("secret",))
    page.goto(server.root)
    page.fill("input[type=password]", "secret")
    page.click("text=Come in")
    page.wait_for_selector("text=No readings yet.")
