"""Evidence is verbatim, in its place, and missing rather than wrong."""

import pytest

from memagent.documents.base import Chunk, Span
from memagent.reading.evidence import choose, grounded, supports
from memagent.reading.words import contains, sentences

TEXT = (
    "Chapter 4. The harbour was quiet that morning. Captain Elena Marsh sold the brig Aurora for 4,200 guilders "
    "in 1787. Nobody in the town spoke of it. The new owner was Tobias Keller, a grain merchant from Bremen.\n"
    "He renamed her Fortuna. Rain fell for three days."
)
OFFSET = 1000


def chunk(text=TEXT):
    return Chunk(index=0, name="0", text=text, start=0, tokens=1, spans=(Span(0, len(text), 0, OFFSET, page=3),))


def found(before, after, text=TEXT):
    return supports(chunk(text), ["harbour.txt"], before, after)


def test_the_supporting_sentence_is_quoted_where_it_stands():
    (support,) = found("No previous memory", "Elena Marsh sold the Aurora in 1787 for 4,200 guilders.")
    evidence = support.evidence
    assert evidence.quote.startswith("Captain Elena Marsh sold")
    assert evidence.quote.endswith("in 1787.")
    assert TEXT[evidence.start - OFFSET : evidence.end - OFFSET] == evidence.quote
    assert (evidence.source, evidence.page) == ("harbour.txt", 3)


def test_of_sentences_of_the_same_words_the_one_that_says_it_is_quoted():
    text = "Ann beat Bob. It rained. Bob beat Ann. It rained again. Ann beat Bob."
    for sentence in ("Ann beat Bob.", "Bob beat Ann."):
        (found,) = supports(chunk(text), ["t"], "", sentence)
        assert found.evidence.quote == sentence and found.evidence.start - 1000 == text.index(sentence)


def test_what_the_memory_held_before_needs_no_evidence():
    old = "The new owner was Tobias Keller, a grain merchant."
    assert found(old, old + "\nThe weather was bad.") == []


def test_an_invention_has_no_evidence():
    assert found("", "The treasure lies under the chapel floor in Lisbon.") == []


def test_a_wrong_number_has_no_evidence():
    assert found("", "Elena Marsh sold the brig Aurora for 9,999 guilders in 1787.") == []


def test_chinese_and_korean():
    chinese = "今天天气很好。李明在1998年搬到了上海。他喜欢喝茶。"
    (support,) = found("", "李明1998年搬到上海", chinese)
    assert support.evidence.quote == "李明在1998年搬到了上海。"
    korean = "날씨가 맑았다. 김민수는 부산에서 태어났다. 그는 의사가 되었다."
    (support,) = found("", "김민수는 부산에서 태어났다", korean)
    assert support.evidence.quote == "김민수는 부산에서 태어났다."


def test_what_bears_the_answer_comes_first():
    memory = "The owner was Tobias Keller, a grain merchant from Bremen.\nElena Marsh sold the brig Aurora in 1787."
    chosen = choose(found("", memory), problem="Who sold the Aurora?", memory=memory, answer="Elena Marsh")
    assert "Elena Marsh" in chosen[0].quote


def test_what_left_the_memory_and_does_not_bear_the_answer_is_left_out():
    all_found = found("", "The new owner was Tobias Keller, a grain merchant from Bremen.")
    assert choose(all_found, problem="Where is it?", memory="Nothing of that.", answer="In Oslo") == ()


def test_containment_goes_by_whole_words():
    assert contains("The brig Aurora sank.", "aurora")
    assert not contains("The brigade sank.", "brig")
    assert contains("我住在北京市", "北京")
    assert not contains("anything", "")


def test_sentences_are_verbatim_spans():
    parts = [TEXT[start:end] for start, end in sentences(TEXT)]
    assert "Nobody in the town spoke of it." in parts
    assert "He renamed her Fortuna." in parts
    assert all(part == part.strip() for part in parts)


def test_of_a_malformed_reply_only_what_the_chunk_says_is_taken():
    problem = "Who was the new owner of the brig?"
    true = "The new owner was Tobias Keller, a grain merchant from Bremen."
    made_up = "The new owner was the Queen of Denmark, who paid in silver."
    beside = "Rain fell for three days."
    take = lambda reply, memory="": grounded(chunk(), ["x"], problem, memory, reply)  # noqa: E731
    assert take(f"{true}\n{made_up}\n{beside}") == true
    assert take(made_up) == take(beside) == take("The new owner") == ""
    assert take(true, memory=true) == ""


def test_wrapped_lines_are_one_sentence_and_lists_are_not():
    prose = (
        'The "with" statement is used to wrap the execution of a block with\n'
        "methods defined by a context manager (see section With Statement\n"
        "Context Managers). It calls obj.close at the end.\n\nAnother paragraph"
    )
    assert [prose[a:b].count("\n") for a, b in sentences(prose)] == [2, 0, 0]
    items = "- one item that is long enough to look like a line that was wrapped\n- another item\nshort\nlines"
    assert len(sentences(items)) == 4
    log = "2026-11-21 ERROR the disk of machine seven is nearly full, says the monitor\n2026-11-21 INFO fine"
    assert len(sentences(log)) == 2


def test_evidence_beside_the_problem_is_left_out():
    text = "The with statement wraps a block of code.\nThe name is often used in conjunction with translation."
    memory = text
    support = supports(chunk(text), ["x"], "", memory)
    chosen = choose(support, problem="What is the with statement used for?", memory=memory, answer="wraps a block")
    assert [evidence.quote for evidence in chosen] == ["The with statement wraps a block of code."]


BARE = "The hall has 7 doors and a no smoking sign."


@pytest.mark.parametrize("answer", ["No", "7", "7.", "yes", "Ann"])
@pytest.mark.parametrize("memory", [BARE, "Nothing of that."])
def test_a_short_answer_needs_a_quote_about_the_problem(answer, memory):
    text = f"{BARE} Ann said yes to the hall."
    support = supports(chunk(text), ["x"], "", text)
    assert len(support) == 2
    assert choose(support, problem="How many ships sailed from Bremen?", memory=memory, answer=answer) == ()


def test_a_short_answer_is_borne_by_what_the_memory_says_of_the_problem():
    text = f"{BARE} The brig had 7 masts. Rain fell for 7 days."
    support = supports(chunk(text), ["x"], "", text)
    chosen = choose(support, problem="How many masts had the brig?", memory=text, answer="7")
    assert [evidence.quote for evidence in chosen] == ["The brig had 7 masts."]
    forgotten = choose(support, problem="How many masts had the brig?", memory="Nothing of that.", answer="7")
    assert forgotten == ()


@pytest.mark.parametrize(("answer", "text"), [("Oslo", "They met in Oslo."), ("北京", "他住在北京。")])
def test_one_distinctive_word_is_enough(answer, text):
    support = supports(chunk(text), ["x"], "", text)
    (evidence,) = choose(support, problem="Where?", memory="Nothing of that.", answer=answer)
    assert evidence.quote == text


def test_a_sentence_as_answer_is_its_own_evidence():
    text = "The with statement wraps the execution of a block.\nNames in a global statement must not be parameters."
    found_here = supports(chunk(text), ["x"], "", text)
    problem = "What is the with statement used for?"
    chosen = choose(found_here, problem=problem, memory=text, answer="It wraps the execution of a block.")
    assert [evidence.quote for evidence in chosen] == [text.split("\n")[0]]
