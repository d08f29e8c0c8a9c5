"""What each baseline shows the model, and that it fails as it should."""

from dataclasses import replace

import pytest
from tests.evaluation.conftest import FILLER, problem

from memagent.errors import OptionError, PromptWasCut
from memagent.evaluation.baselines import STRATEGIES, strategy_named
from memagent.evaluation.consulting import Baseline
from memagent.models.scripted import Fault, ScriptedModel
from memagent.tokens import ByteEstimate


def baseline(name, model, settings, journal, **given):
    return Baseline(name, strategy_named(name), model, settings, journal, **given)


def shown(model):
    return model.requests[-1].prompt.text


async def test_full_is_the_whole_published_prompt(model, settings, journal):
    asked = problem()
    attempt = await baseline("full", model, settings, journal).attempt(asked)
    assert shown(model) == asked.prompt(asked.context)
    assert "1000" in attempt.reply and attempt.status == "answered"
    assert model.requests[-1].max_tokens == 20


async def test_full_past_the_window_is_an_overflow_and_never_cut(model, settings, journal):
    attempt = await baseline("full", model, settings, journal).attempt(problem(fillers=200))
    assert attempt.status == "overflow" and attempt.reply == "" and "window" in attempt.error


async def test_full_is_not_sent_past_the_window_that_the_user_names(settings, journal):
    model = ScriptedModel.saying("It is 1000")  # an endpoint that takes more than it says, or cuts in silence
    full = baseline("full", model, settings, journal, window=800)
    attempt = await full.attempt(problem(fillers=200))
    assert attempt.status == "overflow" and "--window is 800" in attempt.error and model.calls == 0
    assert (await full.attempt(problem(fillers=20))).status == "answered"
    model.tokenizer = ByteEstimate()  # what is only estimated is the endpoint's to judge
    assert (await full.attempt(problem(1, fillers=200))).status == "answered"


async def test_truncated_keeps_both_ends_and_fits(model, settings, journal):
    asked = problem(fillers=200, context="FIRST " + FILLER * 200 + " LAST")
    attempt = await baseline("truncated", model, settings, journal).attempt(asked)
    assert attempt.status == "answered"
    text = shown(model)
    assert "FIRST" in text and "LAST" in text and "…" in text
    assert 700 < model.prompt_tokens(model.requests[-1].prompt) <= 780


async def test_truncated_leaves_alone_what_fits(model, settings, journal):
    asked = problem(fillers=10)
    await baseline("truncated", model, settings, journal).attempt(asked)
    assert shown(model) == asked.prompt(asked.context)


async def test_no_context_shows_the_question_alone(model, settings, journal):
    attempt = await baseline("no-context", model, settings, journal).attempt(problem())
    assert "tide" not in shown(model) and "magic number of day 0" in shown(model)
    assert attempt.answer == "Nothing"


async def test_a_prompt_that_an_endpoint_cuts_in_silence_is_an_overflow(settings, journal):
    error = PromptWasCut("it read 600 tokens of 2000")
    model = ScriptedModel(lambda request: Fault(error=error), window=8192)
    attempt = await baseline("full", model, settings, journal).attempt(problem())
    assert (attempt.status, attempt.error, attempt.reply) == ("overflow", "it read 600 tokens of 2000", "")


async def test_bm25_finds_the_passage_and_fits(model, settings, journal):
    attempt = await baseline("bm25", model, settings, journal).attempt(problem(7, fillers=400))
    assert "1007" in attempt.reply
    assert model.prompt_tokens(model.requests[-1].prompt) <= 780
    assert model.calls == 1


async def test_bm25_shows_passages_in_the_document_s_order(model, settings, journal):
    told = ["A magic day came once.\n", "The magic number of day 0 is 1000.\n"]
    asked = problem(context=f"{FILLER * 100}{told[0]}{FILLER * 100}{told[1]}{FILLER * 100}")
    await baseline("bm25", model, settings, journal).attempt(asked)
    places = [shown(model).find(line.strip()) for line in told]  # the second ranks first
    assert 0 < places[0] < places[1]


@pytest.mark.parametrize("name", ["truncated", "bm25"])
@pytest.mark.parametrize("spare", [0, 1])
async def test_a_document_that_just_fits_is_shown_as_full_shows_it(name, spare, settings, journal):
    roomy, asked = ScriptedModel.saying("1000"), problem(fillers=60)
    await baseline("full", roomy, settings, journal).attempt(asked)
    whole = roomy.requests[-1].prompt
    tight = ScriptedModel(lambda request: "1000", window=roomy.prompt_tokens(whole) + asked.max_tokens - spare)
    attempt = await baseline(name, tight, settings, journal).attempt(asked)
    assert attempt.status == "answered"
    assert (tight.requests[-1].prompt == whole) is (spare == 0)


async def test_thinking_takes_of_the_room(model, settings, journal):
    thinking = replace(settings, thinking_tokens=100)
    for name in ("truncated", "bm25"):
        await baseline(name, model, thinking, journal).attempt(problem(fillers=200))
        assert 500 < model.prompt_tokens(model.requests[-1].prompt) <= 800 - 20 - 100


async def test_bm25_of_a_text_without_words(model, settings, journal):
    attempt = await baseline("bm25", model, settings, journal).attempt(problem(context="!!! ??? " * 500))
    assert attempt.status == "answered"


async def test_map_reduce_asks_every_chunk_and_answers_from_the_notes(model, settings, journal):
    attempt = await baseline("map-reduce", model, settings, journal).attempt(problem(3, fillers=100))
    assert "1003" in attempt.reply
    sections = [request for request in model.requests if "<section>" in request.prompt.text]
    assert "".join(sections[0].prompt.text.split("<section>\n")[1:]).startswith("The tide")
    assert len(sections) == model.calls - 1 > 10
    assert "tide" not in shown(model)


async def test_map_reduce_reduces_again_what_does_not_fit(settings, journal):
    def wordy(request):
        text = request.prompt.text
        return "word " * 200 if "<section>" in text and "word word" not in text else "short"

    model = ScriptedModel(wordy, window=800)
    attempt = await baseline("map-reduce", model, settings, journal).attempt(problem(fillers=100))
    assert attempt.reply == "short"
    assert any("word word" in request.prompt.text and "<section>" in request.prompt.text for request in model.requests)


async def test_map_reduce_that_never_gets_shorter_is_an_overflow(settings, journal):
    model = ScriptedModel(lambda request: "word " * 200, window=800)
    attempt = await baseline("map-reduce", model, settings, journal).attempt(problem(fillers=60))
    assert attempt.status == "overflow" and attempt.usage.model_calls == model.calls


async def test_a_question_that_leaves_no_room_is_an_overflow(model, settings, journal):
    asked = problem(tail="\nWhy? " * 700)
    for name in ("truncated", "bm25"):
        assert (await baseline(name, model, settings, journal).attempt(asked)).status == "overflow"


async def test_our_frame_where_the_task_has_none(model, settings, journal):
    await baseline("full", model, settings, journal).attempt(problem(head="", tail="", answer_prefix=""))
    assert "<text>\n" in shown(model) and "<problem>\nWhat is the magic number" in shown(model)


@pytest.mark.parametrize("name", [*STRATEGIES])
async def test_nothing_is_asked_twice(name, model, settings, journal):
    first = await baseline(name, model, settings, journal).attempt(problem())
    calls = model.calls
    again = await baseline(name, model, settings, journal).attempt(problem())
    assert model.calls == calls and again == first


@pytest.mark.parametrize("name", ["fool", "bm25+yarn", "full+wave", "full+"])
def test_unknown_baselines(name):
    with pytest.raises(OptionError, match="there is no baseline"):
        strategy_named(name)
