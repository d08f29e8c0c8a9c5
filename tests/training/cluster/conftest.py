"""What a run on verl needs besides GPUs: settings of verl's own, a tiny model, and servers made of rules.

These tests need verl, whose pins are its own: `make test` runs them in an environment of their own.
"""

import importlib.util
import json
from types import SimpleNamespace

import pytest
from tests.models import tiny
from tests.reading.oracle import oracle

from memagent.models.tokenizers import HubTokenizer

VERL = importlib.util.find_spec("verl") is not None
collect_ignore_glob = [] if VERL else ["test_*.py"]

WINDOW = 4096

RECIPE = """
kind = "rl"
steps = 2

[base]
name = "{base}"

[reading]
protocol = "gated"
chunk_tokens = 300
memory_tokens = 120
answer_tokens = 120

[[data]]
task = "file"
file = "{file}"

[reward]
gate = 0.5

[rollouts]
problems = 2
group = 4
updates = 1

[validation]
problems = 0
"""


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The tiny Llama as a folder that transformers, too, take for a model."""
    folder = tiny.write_folder(tmp_path_factory.mktemp("base") / "tiny", tiny.weights())
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told |= {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "config.json").write_text(json.dumps({**tiny.CONFIG, "max_position_embeddings": WINDOW}))
    return folder


@pytest.fixture(scope="session")
def tokenizer(base):
    return HubTokenizer(base / "tokenizer.json", name=str(base))


class Servers:
    """Answers as the oracle would."""

    def __init__(self, tokenizer):
        self.calls = []
        self._tokenizer = tokenizer

    async def generate(self, request_id, *, prompt_ids, sampling_params):
        from verl.workers.rollout.replica import TokenOutput

        text = self._tokenizer.decode(prompt_ids)
        ids = [*self._tokenizer.encode(oracle(SimpleNamespace(prompt=SimpleNamespace(text=text)))), 2]
        self.calls.append((request_id, tuple(prompt_ids), sampling_params))
        return TokenOutput(
            token_ids=ids[: sampling_params["max_tokens"]],
            log_probs=[-0.5 / (1 + at) for at in range(len(ids))][: sampling_params["max_tokens"]],
            stop_reason="completed",
            extra_fields={"min_global_steps": 3, "max_global_steps": 3 + len(self.calls) % 2},
        )


@pytest.fixture
def servers(tokenizer):
    return Servers(tokenizer)
