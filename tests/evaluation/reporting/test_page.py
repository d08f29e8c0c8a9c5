"""report.html opens every problem's memory, and runs nothing but its own script."""

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser

import pytest
from tests.evaluation.reporting.cases import EVIL, grid, outcome, peaks, turns

from memagent.evaluation.recipe import Recipe
from memagent.evaluation.reporting import page, write_report


class Found(HTMLParser):
    """The elements of a page, as a browser's parser sees them."""

    def __init__(self):
        super().__init__()
        self.scripts, self.handlers, self.tags, self.text, self.csp = [], [], set(), "", ""
        self._script = None

    def handle_starttag(self, tag, given):
        attributes = dict(given)
        self.tags.add(tag)
        self.handlers += [name for name in attributes if name.startswith("on") or name == "srcdoc"]
        self.handlers += [value for value in attributes.values() if value and value.startswith("javascript:")]
        if tag == "script":
            self._script = [attributes, ""]
            self.scripts.append(self._script)
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.csp = attributes["content"]

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is not None:
            self._script[1] += data
        else:
            self.text += data


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Writes a report, with pictures that took no drawing, and opens its page."""
    for name in ("draw_curve", "draw_cost"):
        monkeypatch.setattr(f"memagent.evaluation.reporting.{name}", lambda table, path: path.write_bytes(b"picture"))

    def write(outcomes, memories=turns, missing=0):
        write_report(tmp_path, outcomes=outcomes, peaks=peaks(outcomes), recipe=Recipe(suite=f"my {EVIL[:40]}"),
                     missing=missing, turns=memories, settings=lambda reading: {"model": f"m {EVIL}"})  # fmt: skip
        found = Found()
        found.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
        return found

    return write


def problems(found):
    """What the page holds of each problem, in the order of its list."""
    packed = [text for attributes, text in found.scripts if attributes.get("class") == "detail"]
    return [json.loads(zlib.decompress(base64.b64decode(text))) for text in packed]


def listed(found):
    return json.loads(next(text for attributes, text in found.scripts if attributes.get("id") == "rows"))


def test_every_problem_opens_its_memory_step_by_step(opened):
    outcomes = grid()
    found = opened(outcomes)
    assert len(listed(found)) == len(problems(found)) == len(outcomes)
    for row, problem in zip(listed(found), problems(found), strict=True):
        assert row[:3] in [[one.method, one.task, one.label] for one in outcomes]
        assert problem["turns"] == "kafwk" and problem["places"] == [100, 200, 300, 400, 500]
        assert problem["memories"] == {"1": f"The sky was blue. {EVIL}", "3": f"Blue, then grey. {EVIL}"}
        assert problem["evidence"]["3"] == [f"blue {EVIL}"] and problem["errors"] == {"2": f"refused {EVIL}"}
        assert problem["question"].startswith("Question") and problem["references"] == ["blue"]


def test_the_list_is_in_order_whatever_ended_first(opened):
    outcomes = grid(("b", "a"), count=3)
    found = opened(sorted(outcomes, key=lambda one: (one.method == "a", one.index * 7 % 3)))
    assert [row[0] for row in listed(found)] == ["b"] * 18 + ["a"] * 18
    assert [row[3] for row in listed(found)][:6] == [0, 1, 2, 0, 1, 2]
    first = [(row[2], row[1]) for row in listed(found)][::3][:4]
    assert first == [("8k", "fwe"), ("8k", "vt"), ("16k", "fwe"), ("16k", "vt")]


def test_a_baseline_has_no_turns(opened):
    assert problems(opened([outcome("full", reading_id="")]))[0]["turns"] == ""
    assert problems(opened([outcome("full")], memories=lambda reading: []))[0]["turns"] == ""


def test_only_our_script_runs(opened):
    evil = outcome(EVIL, EVIL, question=EVIL, references=(EVIL,), reply=EVIL, answer=EVIL, error=EVIL, label=EVIL)
    found = opened([evil, outcome()])
    running = [text for attributes, text in found.scripts if "type" not in attributes]
    assert len(running) == 1 and "document.title" not in running[0]
    digest = base64.b64encode(hashlib.sha256(running[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in found.csp and "default-src 'none'" in found.csp
    assert "unsafe-inline" not in found.csp.partition("script-src")[2]
    assert found.handlers == [] and not found.tags & {"b", "iframe", "object", "link"}
    assert problems(found)[0]["question"] == EVIL and "onerror" in found.text


def test_the_script_writes_text_only():
    script = page._file("report.js")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script)


def test_the_page_needs_no_network(opened, tmp_path):
    opened(grid())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text) and text.count("data:image/png;base64,") == 2


def test_scores_comparisons_failures_costs_and_recipe_stand_in_the_page(opened):
    found = opened([*grid(), outcome("full", index=9, status="failed", error="a content filter")], missing=7)
    for text in ("unfinished: 49 of 56", "Compared with gated", "a content filter", "peak memory, MB", "samples = 16"):
        assert text in found.text, text


def test_a_page_that_would_be_too_large_says_what_is_left_out(opened, monkeypatch):
    monkeypatch.setattr(page, "LARGEST", 3000)
    found = opened(grid(("gated",), count=2))
    short = [problem for problem in problems(found) if not problem["turns"]]
    assert 0 < len(short) < 12 and f"{len(short)} problems are shown without their memory" in found.text


def test_long_readings_stay_small(opened, tmp_path):
    memory = " ".join(f"Fact {at} is that number {at * 7919 % 1000} came." for at in range(100))
    long = [{"outcome": "write", "end": at, "memory": f"{memory} {at}", "error": None, "evidence": []}
            for at in range(3500)]  # fmt: skip
    opened([outcome()], memories=lambda reading: long)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000 < 3500 * len(memory)
