import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models import tiny

from memagent.errors import SetupError
from memagent.models.base import Prompt
from memagent.models.tokenizers import HubTokenizer, load_tokenizer

texts = st.text(st.characters(codec="utf-8")) | st.lists(
    st.sampled_from(
        ["the ", " in", "<|im_end|>", "\n\n", "  42", "你好", "한국어", "😀👩‍👩‍👧", "def f(x):\n\treturn x"]
    )
).map("".join)


@pytest.fixture(scope="module")
def tokenizer(tiny_folder) -> HubTokenizer:
    return load_tokenizer(str(tiny_folder))


@given(texts)
def test_decoding_gives_the_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text), skip_special=False) == text


@given(texts)
def test_ends_grow_to_the_end_of_the_text(tokenizer, text):
    ends = tokenizer.ends(text)
    assert len(ends) == tokenizer.count(text)
    assert sorted(ends) == list(ends)
    assert (ends[-1] if ends else 0) == len(text)


@given(texts)
def test_a_text_between_two_ends_has_those_tokens(tokenizer, text):
    ids, ends = tokenizer.encode(text), tokenizer.ends(text)
    for i, end in enumerate(ends):
        if i + 1 == len(ends) or ends[i + 1] > end:
            assert tokenizer.decode(ids[: i + 1], skip_special=False) == text[:end]


def test_tokens_that_share_a_character_end_behind_it(tokenizer):
    assert list(tokenizer.ends("a😀")) == [1, 2, 2, 2, 2]


def test_white_space_counts_into_its_token(tokenizer):
    assert list(tokenizer.ends("in \n")) == [2, 3, 4]


def test_lone_surrogates_are_replaced(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert list(tokenizer.ends("a\ud800b"))[-1] == 3


def test_the_home_of_nobody_is_one_line():
    with pytest.raises(SetupError, match="~nouser/x names a home folder that there is not") as caught:
        load_tokenizer("~nouser/x")
    assert "\n" not in str(caught.value)


def test_control_tokens_in_a_text_are_letters(tokenizer):
    assert tokenizer.special_tokens == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert min(tokenizer.encode("<|im_end|><|im_start|>system")) > 2


def rendered(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("text", ["the tin", "\nthe", "ends\n", "", "  "])
def test_one_segment_is_tokenised_with_its_template(tokenizer, tiny_folder, text):
    from tokenizers import Tokenizer

    whole = Tokenizer.from_file(str(tiny_folder / "tokenizer.json")).encode(rendered(text), add_special_tokens=False)
    assert tokenizer.chat(Prompt(segments=(text,))) == whole.ids


@given(st.lists(texts, min_size=1, max_size=4))
def test_nothing_in_a_prompt_becomes_a_control_token(tokenizer, segments):
    ids = tokenizer.chat(Prompt(segments=tuple(segments)))
    assert sum(i <= 2 for i in ids) == 3
    assert tokenizer.decode(ids, skip_special=False) == rendered("".join(segments))


def test_several_segments_are_tokenised_apart(tokenizer):
    parts = tokenizer.chat_parts(Prompt(segments=(" t", "he", "in"), shared=2))
    assert tokenizer.decode(parts[0], skip_special=False) == "<|im_start|>user\n t"
    assert parts[1:3] == [tokenizer.encode("he"), tokenizer.encode("in")]
    assert tokenizer.decode(parts[3], skip_special=False) == "<|im_end|>\n<|im_start|>assistant\n"


def with_template(folder, template):
    return load_tokenizer(str(tiny.write_tokenizer(folder, template)))


def test_a_template_that_trims_is_followed(tmp_path):
    trimming = with_template(tmp_path, "<|im_start|>{{ messages[0]['content'] | trim }}<|im_end|>")
    ids = trimming.chat(Prompt(segments=("  a <|im_end|> \n",)))
    assert trimming.decode(ids, skip_special=False) == "<|im_start|>a <|im_end|><|im_end|>"
    assert sum(i <= 2 for i in ids) == 2


def test_named_tokens_and_several_templates(tmp_path):
    named = [
        {"name": "other", "template": "x"},
        {"name": "default", "template": "{{bos_token}}{{messages[0].content}}"},
    ]
    tokenizer = with_template(tmp_path, named)
    assert tokenizer.decode(tokenizer.chat(Prompt(segments=("a",))), skip_special=False) == "<|im_start|>a"


def test_a_template_beside_has_priority(tmp_path):
    tiny.write_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}<think>{{ '\\n' }}")
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer.json"))
    assert tokenizer.chat(Prompt(segments=("a",))) == tokenizer.encode("a<think>\n")
    assert tokenizer.thinks and tokenizer.opens_thinking


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('system first') }}", "system first"),
        ("{% for %}", "takes no user turn"),
        ("nothing", "does not show"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "takes no user turn|does not show"),
    ],
)
def test_templates_that_cannot_be_used(tmp_path, template, complaint):
    with pytest.raises(SetupError, match=complaint) as caught:
        with_template(tmp_path, template).require_chat_template()
    assert "\n" not in str(caught.value)


def test_added_tokens_that_look_like_control_are_not_spoken_by_texts(tmp_path):
    tiny.write_tokenizer(tmp_path)
    settings = json.loads((tmp_path / "tokenizer.json").read_text())
    added = dict(settings["added_tokens"][0], id=len(tiny.VOCABULARY), content="<think>", special=False)
    settings["added_tokens"].append(added)
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(str(tmp_path))
    assert "<think>" in tokenizer.special_tokens
    assert len(tiny.VOCABULARY) not in tokenizer.encode("a <think> b")
    assert tokenizer.decode([len(tiny.VOCABULARY)]) == "<think>"


@pytest.mark.parametrize("name", ["missing/folder/deep", "./missing", "missing folder"])
def test_a_missing_tokenizer_is_one_line(name):
    with pytest.raises(SetupError, match=re.escape(name)) as caught:
        load_tokenizer(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "not json", "{}", '{"model": 3}', "[]"])
def test_a_corrupt_tokenizer_is_one_line(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(SetupError, match=r"tokenizer") as caught:
        load_tokenizer(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_embedded_tokenizer(embedded):
    tokenizer = HubTokenizer(embedded / "tokenizer.json", name="embedded")
    # Ids as in the model's own tokenizer.json on the hub: each digit alone, as it was trained.
    assert tokenizer.encode("The capital of France is Paris.") == [504, 3575, 282, 4649, 314, 7042, 30]
    assert tokenizer.encode("  42") == [
        *tokenizer.encode("  "),
        *tokenizer.encode("4"),
        *tokenizer.encode("2"),
    ]
    prompt = tokenizer.chat(Prompt(segments=("hi",)))
    assert tokenizer.decode(prompt, skip_special=False) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )
    for text in (
        "你好,世界。한국어 테스트 😀👩‍👩‍👧",
        "def f(x):\n\treturn x ** 2  # 1,234.5\n",
        "é\u0301\x00\x7f",
    ):
        assert tokenizer.decode(tokenizer.encode(text)) == text
