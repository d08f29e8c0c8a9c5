"""What is held back: changes that are not sure, not said by the chunk, or not made again; and what is read again."""

import math
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from memagent import Reader, open_document
from memagent.errors import OptionError, StoppedError, TurnRefused, WindowOverflow
from memagent.models import ScriptedModel
from memagent.models.scripted import tagged
from memagent.reading import Journal, Settings
from memagent.reading.doubts import passage, taken
from memagent.reading.memory import settle
from memagent.reading.protocols import NO_MEMORY, Update
from memagent.reading.turns import REREADS

SECTION = (
    "The mill stands by the river. One of the special magic numbers for cold-lamp is: 5930217. Nobody has seen\n"
    "its owner for years. One of the special magic numbers for warm-lamp is: 5930211. He left on a Friday."
)
NUMBER = "One of the special magic numbers for cold-lamp is: 5930217."
words = ScriptedModel(lambda request: "").tokenizer


@pytest.mark.parametrize("outcome", ["keep", "done", "empty", "malformed"])
def test_what_changes_nothing_is_taken_as_it_is(outcome):
    update = Update(outcome, "text")
    assert taken(update, SECTION, "", sure=0.1, gate=0.9, verbatim=True).update == update


def test_a_change_below_the_gate_keeps():
    held = taken(Update("write", "x"), SECTION, "", sure=0.8, gate=0.9, verbatim=False)
    assert (held.update.outcome, held.doubt) == ("keep", "unsure")
    assert taken(Update("write", "x"), SECTION, "", sure=0.9, gate=0.9, verbatim=False).doubt is None
    assert taken(Update("write", "x"), SECTION, "", sure=None, gate=0.9, verbatim=False).doubt is None


def test_an_addition_that_is_no_quote_keeps_only_where_quotes_are_asked_for():
    update = Update("add", "The moon is made of cheese.")
    assert taken(update, SECTION, "", sure=None, gate=0.0, verbatim=True).doubt == "ungrounded"
    assert taken(update, SECTION, "", sure=None, gate=0.0, verbatim=False).update == update


def test_a_new_memory_comes_down_to_quotes_of_the_old_one_and_of_the_section():
    memory, slip = "It is night.", NUMBER.replace("5930217", "5930271")
    update = Update("write", f"{memory}\n{slip}\nThe moon is made of cheese.")
    held = taken(update, SECTION, memory, sure=None, gate=0.0, verbatim=True)
    assert (held.update.outcome, held.update.text) == ("write", f"{memory}\n{NUMBER}")
    invented = taken(
        Update("write", "The moon is made of cheese."), SECTION, memory, sure=None, gate=0.0, verbatim=True
    )
    assert (invented.update.outcome, invented.doubt) == ("keep", "ungrounded")
    assert taken(update, SECTION, memory, sure=None, gate=0.0, verbatim=False).update == update


def test_a_new_memory_is_not_held_against_anything_where_no_quotes_are_asked_for(monkeypatch):
    """It would cost the `paper` protocol much at each chunk."""
    monkeypatch.setattr("memagent.reading.doubts.quoted", None)
    update = Update("write", "x")
    assert taken(update, SECTION, "", sure=None, gate=0.0, verbatim=False).update == update


def test_each_line_of_a_new_memory_is_held_against_one_line_of_the_old():
    lines = [
        f"One of the special magic numbers for the {name}-lamp in the cellar is {n}593021"
        for n, name in enumerate("abc")
    ]
    slips = [line.replace("special", "spcial") for line in lines]
    held = taken(Update("write", "\n".join(slips)), SECTION, "\n".join(lines), sure=None, gate=0.0, verbatim=True)
    assert held.update.text.split("\n") == lines


def test_a_passage_is_the_quotes_and_what_stands_around_them():
    part = passage(SECTION, [NUMBER], 0.5)
    assert NUMBER in part and len(SECTION) * 0.4 < len(part) < len(SECTION) * 0.65
    assert f" {part} " in f" {SECTION} "
    assert passage(SECTION, ["not there"], 0.5) == SECTION
    assert passage(SECTION, [NUMBER], 0.0) == NUMBER
    assert passage(SECTION, ["The mill", "a Friday."], 0.1) == SECTION


def test_a_full_memory_lets_the_least_sure_lines_go():
    old, sure = "one two three\nfour five six\nseven eight nine", {"one two three": 0.9, "four five six": 0.6}
    budget = words.count(old)
    new = Update("add", "ten eleven twelve")
    assert settle(new, old, budget, words, sure=sure, surety=0.8) == (
        "one two three\nseven eight nine\nten eleven twelve", True,
    )  # fmt: skip
    assert settle(new, old, budget, words, sure=sure, surety=0.95)[0].startswith("one two three")
    unsure, trimmed = settle(new, old, budget, words, sure=sure, surety=0.5)
    assert unsure.startswith(old) and trimmed
    assert settle(new, old, budget * 2, words, sure=sure, surety=0.5) == (f"{old}\nten eleven twelve", False)


def test_what_would_not_fit_even_so_costs_no_line():
    old, sure = "one two three four five six\nseven eight", {"seven eight": 0.6}
    long = Update("add", "nine ten eleven twelve thirteen fourteen.")
    kept, trimmed = settle(long, old, words.count(old), words, sure=sure, surety=0.9)
    assert kept.startswith(old) and trimmed


def test_a_line_is_not_added_twice():
    assert settle(Update("add", "a b"), "x\na b", 99, words) == ("x\na b", False)
    assert settle(Update("add", "a b\nc"), "x\na b", 99, words) == ("x\na b\nc", False)


SKY, SEA = "The sky was red.", "The sea was grey."
TEXT = f"{SKY} Then it was night, and there was nothing to be seen.\n\n{SEA} It was not the best of days for sailing."
HELD = Settings(protocol="gated", chunk_tokens=16, memory_tokens=40)


class Sure(ScriptedModel):
    """Adds what it sees of the sky, of which it is not sure, and of the sea; it takes a second look at the sky well."""

    def __init__(self, stops=False):
        super().__init__(self.reply)
        self.shown, self.told, self.stops = [], [], stops

    def reply(self, request):
        section = tagged(request.prompt.text, "section")
        self.shown.append(section)
        self.told.append(request.logprobs)
        if section is None:
            if self.stops:
                raise StoppedError("enough")
            return "\\boxed{grey}"
        seen = [line for line in (SKY, SEA) if line in section]
        looked_before = any(SKY in (shown or "") for shown in self.shown[:-1])
        return f"Add: {seen[0]}" if seen and not (seen[0] == SKY and looked_before) else "Keep"

    async def generate(self, request):
        completion = await super().generate(request)
        sure = 0.6 if SKY in completion.text else 0.95
        return replace(completion, logprobs=(math.log(sure),) if request.logprobs else None)


def read(settings, journal=None, **given):
    model = Sure(**given)
    return model, Reader(model, settings, journal=journal).read_sync(document(), "How was the sea?", resume=True)


def document():
    return open_document(text=TEXT)


def test_the_gate_holds_back_what_the_model_is_not_sure_of():
    model, free = read(HELD)
    assert free.memory == f"{SKY}\n{SEA}" and not any(model.told)
    assert (free.tally.changed, free.tally.doubted, free.tally.quotes, free.tally.exact) == (2, 0, 2, 2)
    model, held = read(replace(HELD, gate=0.9))
    assert held.memory == SEA and (held.tally.changed, held.tally.doubted) == (1, 1)
    assert all(model.told[:-1]) and not model.told[-1]  # of an answer, nobody asks how sure it is


def test_a_resumed_reading_holds_back_the_same(tmp_path):
    journal, settings = Journal(tmp_path), replace(HELD, gate=0.9)
    with pytest.raises(StoppedError):
        read(settings, journal, stops=True)
    model, held = read(settings, journal)
    assert held.memory == SEA and held.tally.doubted == 1 and model.shown == [None]


def test_a_second_look_takes_back_what_the_model_does_not_say_again():
    model, held = read(replace(HELD, confirm=True))
    assert held.memory == SEA and held.tally.doubted == 1
    assert held.usage.model_calls == len(model.shown) == held.coverage.chunks + 3
    first, again = (shown for shown in model.shown if SKY in (shown or ""))
    assert len(again) < len(first)


def test_what_is_left_of_a_chunk_is_read_until_nothing_more_is_added():
    whole = replace(HELD, chunk_tokens=80, gate=0.5)
    model, once = read(whole)
    assert once.memory == SKY and len(model.shown) == 2
    model, held = read(replace(whole, reread=True))
    assert held.memory == f"{SKY}\n{SEA}"
    assert (held.coverage.chunks, held.tally.changed, held.tally.quotes, held.tally.exact) == (1, 1, 2, 2)
    first, rest, nothing, _ = model.shown
    assert (rest, nothing) == (first.replace(SKY, ""), first.replace(SKY, "").replace(SEA, ""))
    assert held.usage.model_calls == 4 and held.tally.vain == 0
    model, unsure = read(replace(whole, reread=True, gate=0.9))
    assert len(model.shown) == 2 and unsure.tally.doubted == 1


def test_a_chunk_is_not_read_for_ever():
    model = ScriptedModel(
        lambda request: (
            f"Add: {section.split('.')[0].strip()}." if (section := tagged(request.prompt.text, "section")) else ""
        )
    )
    settings = Settings(protocol="gated", chunk_tokens=200, memory_tokens=99, reread=True)
    facts = [
        f"Boat number {name} sank in the year of the {name} storms."
        for name in ("one", "two", "six", "ten", "few", "red")
    ]
    held = Reader(model, settings).read_sync(open_document(text=" ".join(facts)), "When did the boats sink?")
    assert held.memory == "\n".join(facts[: 1 + REREADS])


def test_a_write_over_the_rest_of_a_chunk_does_not_take_back_what_was_added():
    def reply(request):
        section = tagged(request.prompt.text, "section")
        if section is None:
            return "\\boxed{red}"
        return f"Add: {SKY}" if SKY in section else "Write: Someone wrote this anew."

    settings = Settings(protocol="gated", chunk_tokens=80, memory_tokens=40, reread=True)
    held = Reader(ScriptedModel(reply), settings).read_sync(document(), "How was the sky?")
    assert held.memory == SKY and (held.tally.add, held.tally.write, held.tally.vain) == (1, 0, 0)


def test_a_malformed_reply_has_to_pass_the_gate_too():
    line = "The sky over the harbour was red."

    class Plain(ScriptedModel):
        async def generate(self, request):
            return replace(await super().generate(request), logprobs=(math.log(0.6),))

    for gate, memory, doubted in ((0.5, line, 0), (0.9, NO_MEMORY, 1)):
        settings = replace(HELD, chunk_tokens=80, gate=gate)
        reader = Reader(Plain(lambda request: line), settings)
        held = reader.read_sync(open_document(text=f"{line} It was late."), "What colour had the sky over the harbour?")
        assert held.memory == memory and (held.tally.malformed, held.tally.doubted) == (1, doubted)


class Thinking(Sure):
    """Its first token is a thought."""

    async def generate(self, request):
        return replace(await super().generate(request), thinking="hm")


class Silent(Sure):
    """It tells no probabilities."""

    async def generate(self, request):
        return replace(await super().generate(request), logprobs=None)


@pytest.mark.parametrize("model", [Thinking(), Silent()])
def test_that_no_probability_was_told_is_noted(model):
    held = Reader(model, replace(HELD, gate=0.9)).read_sync(document(), "How was the sea?")
    assert SEA in held.memory and "told no probability" in held.notes[-1]
    assert not Reader(Sure(), replace(HELD, gate=0.9)).read_sync(document(), "How was the sea?").notes


@pytest.mark.parametrize("outcome", [TurnRefused("no"), WindowOverflow("too long")])
def test_what_was_added_stays_where_the_rest_is_refused(outcome):
    class Refusing(Sure):
        async def generate(self, request):
            section = tagged(request.prompt.text, "section") or SKY
            if SKY not in section:
                raise outcome
            return await super().generate(request)

    settings = replace(HELD, chunk_tokens=80, reread=True)
    held = Reader(Refusing(), settings).read_sync(document(), "How was the sky?")
    assert held.memory == SKY and held.coverage.failed == 0


def test_a_reading_ends_in_the_first_half_of_a_chunk_if_the_model_is_done_there():
    first, second = "The sky was red. " * 16, "The sea was grey. " * 16

    def reply(request):
        section = tagged(request.prompt.text, "section")
        if section and SKY in section and SEA in section:
            raise WindowOverflow("too long")
        return "\\boxed{red}" if section is None else "Done"

    model = ScriptedModel(reply)
    settings = Settings(protocol="gated", chunk_tokens=400, memory_tokens=40, exit=True)
    held = Reader(model, settings).read_sync(open_document(text=first + second), "How was the sky?")
    assert (held.tally.done, held.tally.recut, held.status) == (1, 1, "not_found")
    assert not any(SEA in (tagged(request.prompt.text, "section") or "") for request in model.requests[1:])


@pytest.mark.parametrize(
    "held", [{"gate": 0.5}, {"verbatim": True}, {"confirm": True}, {"sift": 0.9}, {"reread": True}]
)
def test_paper_holds_nothing_back(held):
    with pytest.raises(OptionError, match="for --protocol gated"):
        Settings(protocol="paper", **held).resolve(ScriptedModel(lambda request: ""))


@pytest.mark.parametrize("gate", [-0.1, 1.0, 7])
def test_a_gate_is_a_probability(gate):
    with pytest.raises(OptionError, match="--gate is a probability"):
        Settings(protocol="gated", gate=gate).resolve(ScriptedModel(lambda request: ""))


@pytest.mark.parametrize("sift", [-0.1, 1.0])
def test_a_sieve_is_a_probability(sift):
    with pytest.raises(OptionError, match="--sift is a probability"):
        Settings(protocol="gated", sift=sift).resolve(ScriptedModel(lambda request: ""))


def test_one_second_look_is_enough():
    with pytest.raises(OptionError, match="choose one"):
        Settings(protocol="gated", sift=0.9, confirm=True).resolve(ScriptedModel(lambda request: ""))


def test_the_second_look_that_is_asked_for_replaces_one_that_is_suggested():
    sifts, confirms = (
        ScriptedModel(lambda request: "", suggests={"protocol": "gated", **held})
        for held in ({"sift": 0.9}, {"confirm": True})
    )
    plan = Settings(confirm=True).resolve(sifts)
    assert plan.confirm and plan.sift == 0
    plan = Settings(sift=0.8).resolve(confirms)
    assert plan.sift == 0.8 and not plan.confirm
    assert Settings(confirm=False).resolve(sifts).sift == 0.9


def test_suggestions_hold_for_the_suggested_protocol_and_can_be_unset():
    model = ScriptedModel(lambda request: "", suggests={"protocol": "gated", "gate": 0.9, "verbatim": True})
    plan = Settings().resolve(model)
    assert (plan.gate, plan.verbatim, plan.confirm) == (0.9, True, False)
    plan = Settings(gate=0.0, verbatim=False).resolve(model)
    assert (plan.gate, plan.verbatim) == (0.0, False)
    assert Settings(protocol="paper").resolve(model).gate == 0


def test_a_journal_of_the_version_before_goes_on(tmp_path):
    Journal(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.db") as database:
        database.execute("ALTER TABLE calls DROP COLUMN logprob")
        database.execute("ALTER TABLE readings DROP COLUMN start")
        database.execute("PRAGMA user_version = 1")
    database.close()
    _, held = read(HELD, Journal(tmp_path))
    assert held.memory == f"{SKY}\n{SEA}"


@pytest.mark.parametrize("options", [("--gate", "2"), ("--gate", "0.5", "--protocol", "paper"), ("--gate", "much")])
def test_the_command_line_refuses_what_is_no_gate(tmp_path, options):
    (tmp_path / "a.txt").write_text("Some text.")
    command = [sys.executable, "-m", "memagent", "ask", str(tmp_path / "a.txt"), "-q", "Why?", "--confirm", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "--gate" in done.stderr
