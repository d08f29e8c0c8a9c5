"""How a memory's last change is marked, and how a long one is cut for the screen."""

from rich.text import Text

from memagent.cli.memory_view import last_lines, shown_memory
from memagent.reading.protocols import NO_MEMORY


def styled(text, style):
    return [text.plain[span.start : span.end].strip() for span in text.spans if span.style == style]


def test_new_words_are_green_and_gone_ones_struck():
    text = shown_memory("the red house\nby the sea", "the blue house\nby the sea\nand a boat")
    assert styled(text, "green") == ["blue", "and a boat"]
    assert styled(text, "red strike") == ["red"]


def test_white_space_alone_is_no_change():
    assert shown_memory("one\ntwo", "one two ").plain == "one two "
    assert not shown_memory("one\ntwo", "one two").spans


def test_the_first_memory_is_all_new():
    assert styled(shown_memory(NO_MEMORY, "a memory"), "green") == ["a memory"]


def test_a_long_memory_shows_its_end():
    text = last_lines(Text("\n".join(f"line {number}" for number in range(50))), 40, 5)
    assert text.plain.split("\n") == ["… 46 lines above", "line 46", "line 47", "line 48", "line 49"]
    assert last_lines(Text("short"), 40, 5).plain == "short"
