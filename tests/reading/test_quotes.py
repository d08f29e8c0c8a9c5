"""Quotes: what a reply says in the section's own words, and slips of an answer's codes."""

import pytest

from memagent import Reader, open_document
from memagent.models import ScriptedModel
from memagent.reading import Settings
from memagent.reading.quotes import mended, quoted

SECTION = (
    "The mill stands by the river. One of the special magic numbers for cold-lamp is: 5930217. Nobody has seen\n"
    "its owner for years. One of the special magic numbers for warm-lamp is: 5930211. He left on a Friday."
)
NUMBER = "One of the special magic numbers for cold-lamp is: 5930217."


@pytest.mark.parametrize(
    ("reply", "text", "exact"),
    [
        (NUMBER, NUMBER, 1),
        (NUMBER.replace("5930217", "5930271"), NUMBER, 0),  # a slip in copying
        (NUMBER[:-3], NUMBER, 0),  # half a number
        ("59302", "", 0),
        ("5930217", "5930217", 1),
        ("Nobody has seen its owner for years.", "Nobody has seen its owner for years.", 1),  # wrapped there
        ("Nobody has ever seen its owner for years.", "Nobody has seen its owner for years.", 0),
        ("The moon is made of cheese.", "", 0),
        (f"{NUMBER}\n\nThe moon is made of cheese.", NUMBER, 1),
        (f"{NUMBER}\n{NUMBER}", NUMBER, 2),
        ("", "", 0),
    ],
)
def test_quotes_are_the_sections_own_words(reply, text, exact):
    found = quoted(SECTION, reply)
    assert (found.text, found.exact) == (text, exact)
    assert found.lines == len([line for line in reply.split("\n") if line])


CODE = "43e7c69c-30e8-48de-99cd-1d77cd978292"


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (CODE.replace("8292", "8229"), CODE),
        (f"It is {CODE.replace('8292', '82292')}.", f"It is {CODE}."),
        (CODE, CODE),
        (CODE.replace("43e7c69c", "00000000"), CODE.replace("43e7c69c", "00000000")),  # another one
        ("2026-11-29", "2026-11-29"),  # another date is no slip
        ("5930217593027", "5930217593021"),
        ("2026-11-29T10:30", "2026-11-29T10:30"),
        ("order-2026-0003", "order-2026-0003"),  # of two that are as near none
        ("1985", "1985"),
        ("characters", "characters"),
    ],
)
def test_a_slip_in_a_code_of_the_answer_is_mended(reply, answer):
    memory = (
        f"The code is {CODE}, of 2026-11-28T10:31, of one character. 5930217593021: order-2026-0001, order-2026-0005"
    )
    assert mended(reply, memory) == answer


def test_only_answers_of_quotes_are_mended():
    slip = CODE.replace("8292", "8229")
    model = ScriptedModel(
        lambda request: f"\\boxed{{{slip}}}" if "<section>" not in request.prompt.text else f"Add: The code is {CODE}."
    )
    for verbatim, answer in ((True, CODE), (False, slip)):
        settings = Settings(protocol="gated", chunk_tokens=80, memory_tokens=60, verbatim=verbatim)
        held = Reader(model, settings).read_sync(open_document(text=f"The code is {CODE}. It rained."), "Which code?")
        assert held.answer == answer
