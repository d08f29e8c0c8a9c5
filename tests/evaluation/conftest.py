"""Problems and models small enough to see through."""

import pytest

from memagent.models.scripted import ScriptedModel, tagged
from memagent.reading import Journal, Settings
from memagent.tasks.problem import Problem

FILLER = "The tide came in and the tide went out again, as it always does.\n"


def problem(number=0, *, fillers=20, **changes):
    """A needle in so many sentences, RULER's frame around it."""
    needle = f"The magic number of day {number} is {1000 + number}."
    half = FILLER * (fillers // 2)
    given = {
        "id": f"needle-{fillers}-{number}",
        "task": "needle",
        "question": f"What is the magic number of day {number}?",
        "answers": (str(1000 + number),),
        "metric": "ruler_all",
        "context": f"{half}{needle}\n{half}",
        "head": "Read the text.\n",
        "tail": f"\nWhat is the magic number of day {number}?",
        "answer_prefix": " It is",
        "max_tokens": 20,
    }
    return Problem(**{**given, **changes})


@pytest.fixture
def journal(tmp_path):
    found = Journal(tmp_path / "readings")
    yield found
    found.close()


@pytest.fixture
def settings():
    return Settings(protocol="gated", chunk_tokens=100, memory_tokens=40)


def answering(request):
    """Reads like `ScriptedModel.reader("magic")`; at once, it quotes the sentence of the prompt that tells."""
    prompt = request.prompt.text
    if tagged(prompt, "memory") is not None:
        return ScriptedModel.reader("magic")._script(request)
    told = [line for line in prompt.splitlines() if "magic number of day" in line and " is 1" in line]
    return told[0] if told else "Nothing"


@pytest.fixture
def model():
    return ScriptedModel(answering, window=800)
