"""Natural cuts: what they promise for any text, and where they stand in known ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.documents.helpers import BytePairs, EveryFour, text_of

from memagent.documents import cut, open_document, split
from memagent.documents.boundaries import is_safe, natural_ends
from memagent.documents.window import bytes_limit
from memagent.errors import OptionError
from memagent.tokens import ByteEstimate

PAIRS = BytePairs()
TOKENIZERS = [PAIRS, ByteEstimate(), EveryFour()]
ODD = [
    "\r\n",
    "\n\n",
    "e\u0301",
    "👨‍👩‍👧‍👦",
    "🇰🇷🇫🇷",
    "각",
    "끝. ",
    "。",
    "!» ",
    " ",
    "\u200d",
    "ক্ষ",
    "word ",
    "\ufeff",
]
anything = st.lists(st.text(max_size=20) | st.sampled_from(ODD), min_size=1, max_size=60).map("".join)
texts = anything.filter(lambda text: text.strip())


@given(texts, st.integers(1, 40), st.sampled_from(TOKENIZERS), st.none() | st.integers(1, 60), st.booleans())
def test_chunks_give_the_document_back(text, tokens, tokenizer, max_bytes, exact):
    document = open_document(text=text)
    whole = text_of(document)
    chunks = list(cut(document, tokenizer, tokens=tokens, max_bytes=max_bytes, exact=exact))
    assert "".join(chunk.text for chunk in chunks) == whole
    at = 0
    for number, chunk in enumerate(chunks):
        assert (chunk.index, chunk.name, chunk.start) == (number, str(number), at)
        assert chunk.text
        assert (chunk.is_first, chunk.is_last) == (number == 0, number == len(chunks) - 1)
        assert max_bytes is None or len(chunk.text) == 1 or len(chunk.text.encode()) <= max_bytes
        place = chunk.locate(0, len(chunk.text))
        assert (place.source, place.start, place.end) == (0, at, chunk.end)
        at = chunk.end


@given(texts, st.integers(1, 40), st.sampled_from(TOKENIZERS))
def test_no_natural_chunk_is_too_long(text, tokens, tokenizer):
    for chunk in cut(open_document(text=text), tokenizer, tokens=tokens):
        assert chunk.tokens == tokenizer.count(chunk.text)
        assert chunk.tokens <= tokens or len(chunk.text) == 1


@given(texts, st.sampled_from(TOKENIZERS))
def test_natural_cuts_leave_graphemes_whole_where_they_fit(text, tokenizer):
    whole = text_of(open_document(text=text))
    chunks = list(cut(open_document(text=text), tokenizer, tokens=40))
    for chunk in chunks[:-1]:
        if not is_safe(whole, chunk.end):  # then the chunk holds no place that is better
            assert not any(is_safe(whole, at) for at in range(chunk.start + 1, chunk.end))


@given(texts.filter(lambda text: len(text) > 1), st.integers(5, 80))
def test_halves_are_the_chunk(text, tokens):
    for chunk in cut(open_document(text=text), PAIRS, tokens=tokens):
        if len(chunk.text) == 1:
            continue
        first, second = split(chunk, PAIRS)
        assert first.text and second.text
        assert first.text + second.text == chunk.text
        assert (first.start, first.end, second.end) == (chunk.start, second.start, chunk.end)
        assert (first.name, second.name) == (f"{chunk.name}.0", f"{chunk.name}.1")
        assert (first.is_first, first.is_last) == (chunk.is_first, False)
        assert (second.is_first, second.is_last) == (False, chunk.is_last)
        assert second.locate(0, 1).start == chunk.locate(len(first.text), len(first.text) + 1).start
        assert (first.tokens, second.tokens) == (PAIRS.count(first.text), PAIRS.count(second.text))


def test_one_character_has_no_halves():
    (chunk,) = cut(open_document(text="x"), PAIRS, tokens=5)
    with pytest.raises(ValueError, match="one character"):
        split(chunk, PAIRS)


def test_halves_of_halves_are_named_after_them():
    (chunk,) = cut(open_document(text="One. Two. Three. Four. "), PAIRS, tokens=100)
    second = split(chunk, PAIRS)[1]
    assert [half.name for half in split(second, PAIRS)] == ["0.1.0", "0.1.1"]


@pytest.mark.parametrize(
    ("sentences", "ends"),
    [
        (
            ["The ship left at dawn. ", "Nobody saw it again! ", 'He asked: "Why?" ', "(It was May.) "],
            '.!?)" ',
        ),
        (
            ["배는 새벽에 떠났다. ", "아무도 다시 보지 못했다! ", "왜 그랬을까? ", "강은 마을 뒤로 흘렀다. "],
            ".!? ",
        ),
        (["船在黎明时离开了港口。", "没有人再见过它！", "为什么？", "他说：“我不知道。”"], "。！？”"),
        (["जहाज़ सुबह निकल गया। ", "किसी ने उसे फिर नहीं देखा। "], "। "),
        (["غادرت السفينة عند الفجر. ", "لماذا؟ "], ".؟ "),
    ],
    ids=["English", "Korean", "Chinese", "Hindi", "Arabic"],
)
@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: tokenizer.name)
def test_chunks_end_where_sentences_do(sentences, ends, tokenizer):
    whole = "".join(sentences * 60)
    marks = tuple(ends.strip())
    # So long that the last quarter before the limit always holds the end of a sentence.
    tokens = max(tokenizer.count(sentence) for sentence in sentences) * 6
    chunks = list(cut(open_document(text=whole), tokenizer, tokens=tokens))
    assert len(chunks) > 5
    for chunk in chunks:
        assert chunk.text.rstrip().endswith(marks)
        assert not chunk.text[0].isspace()
        assert chunk.text.startswith(tuple(sentences))


def test_a_paragraph_end_is_better_than_a_sentence_end():
    paragraph = "One thing happened. Then another did. And a third. "
    whole = "\r\n\r\n".join([paragraph * 2] * 30)
    for chunk in cut(open_document(text=whole), EveryFour(), tokens=120):
        assert chunk.is_last or chunk.text.endswith("\r\n\r\n")


@pytest.mark.parametrize("short", ["Mr. Smith", "e.g. This", "J. R. R. Tolkien", "approx. Five", "vs. Them"])
def test_an_abbreviation_is_not_the_end_of_a_sentence(short):
    text = f"One came, two left. Then {short} went on and on."
    _, sentences, _, _ = natural_ends(text, 0, len(text))
    assert sentences == [text.index("Then")]


def test_code_is_cut_at_the_ends_of_lines():
    line = "    value = compute(other_value, third_value)\n"
    for chunk in cut(open_document(text="def f():\n" + line * 100), EveryFour(), tokens=100):
        assert chunk.is_last or "\n" in chunk.text[-5:]


def test_a_blank_run_longer_than_a_chunk_is_cut_all_the_same():
    text = "start" + " " * 5000 + "end"
    chunks = list(cut(open_document(text=text), EveryFour(), tokens=50))
    assert "".join(chunk.text for chunk in chunks) == text
    assert len(chunks) == 26


def test_a_line_of_ten_megabytes_without_spaces_is_cut_in_windows_of_bounded_size():
    class Counting(EveryFour):
        characters = longest = 0

        def ends(self, text):
            self.characters += len(text)
            self.longest = max(self.longest, len(text))
            return super().ends(text)

        def count(self, text):
            self.characters += len(text)
            return super().count(text)

    tokenizer, text = Counting(), "0123456789abcdef" * 650_000
    chunks = list(cut(open_document(text=text), tokenizer, tokens=5000))
    assert "".join(chunk.text for chunk in chunks) == text
    assert len(chunks) == 520
    assert tokenizer.longest < 100_000
    assert tokenizer.characters < 4 * len(text)


def test_bytes_bound_chunks_too():
    text = "漢字仮名" * 500
    chunks = list(cut(open_document(text=text), EveryFour(), tokens=1000, max_bytes=100))
    assert all(90 < len(chunk.text.encode()) <= 100 for chunk in chunks[:-1])


@given(anything, st.integers(1, 100))
def test_bytes_limit_is_the_longest_prefix_that_fits(text, most):
    limit = bytes_limit(text, most)
    assert len(text[:limit].encode()) <= most
    assert limit == len(text) or len(text[: limit + 1].encode()) > most


@pytest.mark.parametrize("sizes", [{"tokens": 0}, {"tokens": -3}, {"tokens": 5, "max_bytes": 0}])
def test_a_chunk_without_room_is_an_option_error(sizes):
    with pytest.raises(OptionError, match="at least 1"):
        cut(open_document(text="x"), PAIRS, **sizes)


def test_spans_tell_source_page_and_heading(tmp_path):
    from tests.documents.helpers import write_pdf

    write_pdf(tmp_path / "a.pdf", ["The first page.", "The second page."])
    (tmp_path / "b.txt").write_text("Plain text.")
    document = open_document(tmp_path)
    (chunk,) = cut(document, PAIRS, tokens=1000)
    assert [source.name for source in document.sources] == ["a.pdf", "b.txt"]

    def find(words):
        at = chunk.text.index(words)
        return chunk.locate(at, at + len(words))

    second, plain = find("second page"), find("Plain")
    assert (second.source, second.page) == (0, 2)
    assert (plain.source, plain.start, plain.end, plain.page) == (1, 0, 5, None)
    extracted = "".join(block.text for block in document.sources[0].blocks())
    assert extracted[second.start : second.end] == "second page"
    assert find("--- b.txt ---") is None
    assert find("page.\n\n\n\n--- b") is None
    for half in split(chunk, PAIRS):
        if "second page" in half.text:
            at = half.text.index("second page")
            assert half.locate(at, at + 11) == second
