"""The reader with real weights: reading ahead changes nothing, in 32-bit arithmetic."""

import pydoc_data.topics

import pytest

from memagent import Reader, Settings, open_document
from memagent.models.local import LocalModel
from memagent.models.pull import pull

PROBLEM = "What is the with statement used for?"


@pytest.fixture(scope="module")
def document():
    topics = pydoc_data.topics.topics
    return open_document(text=topics["with"][:2500] + topics["while"] + topics["with"][2500:4000], name="reference")


async def turns_at(document, width):
    pull()
    model = LocalModel.open("smollm2-135m", precision="fp32", concurrency=16)
    turns = []
    try:
        settings = Settings(protocol="gated", chunk_tokens=128, memory_tokens=24, read_ahead=width)
        reader = Reader(model, settings, on_progress=lambda progress: turns.append(progress.turn))
        return turns, await reader.read(document, PROBLEM)
    finally:
        await model.aclose()


async def test_widths_1_4_and_16_give_the_same_turns(document):
    turns, reading = await turns_at(document, 1)
    assert 1 <= sum(turn.changed for turn in turns if turn) < reading.coverage.chunks
    for width in (4, 16):
        others, other = await turns_at(document, width)
        assert others == turns
        assert (other.answer, other.memory, other.evidence) == (reading.answer, reading.memory, reading.evidence)
