"""What servers say when something is wrong, in their own words, and what it is taken for."""

from __future__ import annotations

import pytest

from memagent.models.endpoint.failures import from_answer, one_line, retry_after

OVERFLOWS = {
    "openai": (400, {"error": {"code": "context_length_exceeded", "message": "Reduce the length."}}),
    "vllm": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 "
            "tokens (4000 in the messages, 1000 in the completion).",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "vllm, newer": (
        400,
        {
            "error": {
                "message": "You passed 31745 input tokens and requested 1024 output tokens. However, the "
                "model's context length is only 32768 tokens."
            }
        },
    ),
    "vllm, the reply": (
        400,
        {
            "error": {
                "message": "'max_tokens' or 'max_completion_tokens' is too large: 1000. This model's maximum "
                "context length is 4096 tokens and your request has 4000 input tokens."
            }
        },
    ),
    "vllm, the engine": (
        400,
        {"message": "The decoder prompt (length 5000) is longer than the maximum model length of 4096."},
    ),
    "sglang": (
        400,
        {
            "object": "error",
            "message": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "sglang, the reply": (
        400,
        {"message": "Requested token count exceeds the model's maximum context length of 4096 tokens."},
    ),
    "sglang, the engine": (
        400,
        {"message": "Input length (5000 tokens) exceeds the maximum allowed length (4091 tokens)."},
    ),
    "llama.cpp": (
        400,
        {
            "error": {
                "code": 400,
                "message": "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_ctx": 4096,
            }
        },
    ),
    "llama.cpp, by type alone": (400, {"error": {"type": "exceed_context_size_error", "message": "no"}}),
    "llama.cpp, as a server error": (
        500,
        {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}},
    ),
    "ollama": (400, {"error": {"message": "the input length exceeds the context length"}}),
    "ollama cloud": (400, {"error": "prompt too long; exceeded max context length by 12 tokens"}),
    "tgi": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: "
            "5000 `inputs` tokens and 1000 `max_new_tokens`",
            "error_type": "validation",
        },
    ),
    "tgi, the prompt": (
        422,
        {"error": "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"},
    ),
    "anthropic": (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 210000 tokens > 200000 maximum",
            },
        },
    ),
    "anthropic, the reply": (
        400,
        {"error": {"message": "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000"}},
    ),
    "mistral": (
        400,
        {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"},
    ),
    "google": (
        400,
        {
            "error": {
                "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
            }
        },
    ),
    "groq": (413, {"error": {"message": "Request too large for model `x` on tokens per minute"}}),
    "a rate that one request exceeds": (
        429,
        {"error": {"message": "Request too large for gpt-4o: Limit 30000"}},
    ),
    "lm studio": (
        400,
        {"error": "The number of tokens to keep from the initial prompt is greater than the context length."},
    ),
    "bedrock": (400, {"message": "Input is too long for requested model."}),
    "nginx": (413, "<html>Request Entity Too Large</html>"),
    "no body": (413, None),
}
REFUSALS = {
    "azure": (
        400,
        {
            "error": {
                "code": "content_filter",
                "message": "The response was filtered due to the prompt triggering "
                "Azure OpenAI's content management policy.",
            }
        },
    ),
    "openai": (
        400,
        {"error": {"code": "invalid_prompt", "message": "Invalid prompt: your prompt was flagged"}},
    ),
    "openrouter": (403, {"error": {"code": 403, "message": "x requires moderation: your input was flagged"}}),
    "deepseek": (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),
    "alibaba": (400, {"error": {"code": "data_inspection_failed", "message": "inappropriate content."}}),
}
OTHERS = {
    "an ordinary rate limit": (
        429,
        {
            "error": {
                "code": "rate_limit_exceeded",
                "message": "Rate limit reached on tokens per min: Limit 30000, Used 29000, Requested 2000.",
            }
        },
        "transient",
    ),
    "overloaded": (529, {"error": {"type": "overloaded_error"}}, "transient"),
    "too early": (425, None, "transient"),
    "a spent quota": (429, {"error": {"type": "insufficient_quota"}}, "quota"),
    "a spent balance": (400, {"error": {"message": "Your credit balance is too low"}}, "quota"),
    "no key": (401, {"detail": "Unauthorized"}, "denied"),
    "a proxy's key": (407, None, "denied"),
    "no model": (404, {"error": {"message": "model 'x' not found, try pulling it"}}, "missing"),
    "no model, as a bad request": (400, {"error": {"code": "model_not_found"}}, "missing"),
    "a reply that is too long": (
        400,
        {"error": {"message": "max_tokens is too large: 50000. This model supports at most 16384"}},
        "rejected",
    ),
    "a redirect": (307, None, "rejected"),
}


@pytest.mark.parametrize(("status", "body"), OVERFLOWS.values(), ids=OVERFLOWS)
def test_overflows(status, body):
    assert from_answer(status, body, {}).kind == "overflow"


@pytest.mark.parametrize(("status", "body"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(status, body):
    assert from_answer(status, body, {}).kind == "refused"


@pytest.mark.parametrize(("status", "body", "kind"), OTHERS.values(), ids=OTHERS)
def test_others(status, body, kind):
    assert from_answer(status, body, {}).kind == kind


@pytest.mark.parametrize(
    "body", [None, 3, [], ["x"], {}, {"error": None}, {"error": 3}, {"error": {}}, "\n", {"code": []}]
)
def test_no_body_is_too_odd(body):
    failure = from_answer(503, body, {})
    assert failure.kind == "transient"
    assert failure.detail.startswith("HTTP 503")
    assert "\n" not in failure.detail


def test_the_words_of_each_server_are_shown():
    for body in (
        {"error": {"message": "a  b\nc"}},
        {"error": "a b c"},
        {"detail": "a b c"},
        {"message": "a b c"},
        "a b c",
    ):
        assert from_answer(500, body, {}).detail == "HTTP 500: a b c"
    assert from_answer(500, "<html>a b c</html>", {}).detail == "HTTP 500"


def test_long_words_are_cut():
    assert len(one_line("word " * 10_000)) == 240
    assert one_line("short\n\n one ") == "short one"


def test_a_date_in_the_past_means_now():
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({}) is None


def test_words_with_lone_surrogates_can_be_shown():
    failure = from_answer(400, {"error": {"message": "bad \ud83d"}}, {})
    assert failure.detail == "HTTP 400: bad \ufffd"
