"""The prompts of NVIDIA/RULER, put together here from its templates, byte for byte."""

import itertools
import re

import pytest

from memagent.tasks import ruler

# scripts/data/synthetic/constants.py of NVIDIA/RULER: template and answer prefix in one, and tokens to generate.
NIAH = (
    "Some special magic {type_needle_v} are hidden within the following text. Make sure to memorize it. I will quiz "
    "you about the {type_needle_v} afterwards.\n{context}\nWhat are all the special magic {type_needle_v} for {query} "
    "mentioned in the provided text? The special magic {type_needle_v} for {query} mentioned in the provided text are"
)
NIAH_ONE = (
    "A special magic {type_needle_v} is hidden within the following text. Make sure to memorize it. I will quiz "
    "you about the {type_needle_v} afterwards.\n{context}\nWhat is the special magic {type_needle_v} for {query} "
    "mentioned in the provided text? The special magic {type_needle_v} for {query} mentioned in the provided text is"
)
VT = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\nQuestion: Find "
    "all variables that are assigned the value {query} in the text above. Answer: According to the chain(s) of "
    "variable assignment in the text above, {num_v} variables are assigned the value {query}, they are: "
)
CWE = (
    "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that "
    "appear most often.\n{context}\nQuestion: What are the 10 most common words in the above list? Answer: The top 10 "
    "words that appear most often in the list are:"
)
FWE = (
    "Read the following coded text and track the frequency of each coded word. Find the three most frequently "
    "appeared coded words. {context}\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What "
    "are the three most frequently appeared words in the above coded text? Answer: According to the coded text above, "
    "the three most frequently appeared words are:"
)
NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
WORDS, NUMBER = r"[A-Za-z]+-[A-Za-z]+", r"[1-9][0-9]{6}"
# scripts/synthetic.yaml: hay, type of the value, pattern of key and value, keys, values for each, keys asked for.
TASKS = {
    "niah_single_1": ("noise", "numbers", WORDS, NUMBER, 1, 1, 1),
    "niah_single_2": ("essay", "numbers", WORDS, NUMBER, 1, 1, 1),
    "niah_single_3": ("essay", "uuids", WORDS, UUID, 1, 1, 1),
    "niah_multikey_1": ("essay", "numbers", WORDS, NUMBER, 4, 1, 1),
    "niah_multikey_2": ("needle", "numbers", WORDS, NUMBER, 1, 1, 1),
    "niah_multikey_3": ("needle", "uuids", UUID, UUID, 1, 1, 1),
    "niah_multivalue": ("essay", "numbers", WORDS, NUMBER, 1, 4, 1),
    "niah_multiquery": ("essay", "numbers", WORDS, NUMBER, 4, 1, 4),
}


def prompt(problem):
    return problem.head + problem.context + problem.tail + problem.answer_prefix


@pytest.mark.parametrize("task", TASKS)
def test_niah(task, word_tokenizer):
    hay, kind, key, value, keys, values, queries = TASKS[task]
    problem = ruler.sample(task, 4096, tokenizer=word_tokenizer, seed=3)
    found = re.findall(rf"One of the special magic {kind} for ({key}) is: ({value})\.", problem.context)
    asked = [next(name for name, given in found if given == answer) for answer in problem.answers[::values]]
    query = ", ".join(asked[:-1]) + ", and " + asked[-1] if queries > 1 else asked[0]
    one = queries * values == 1
    expected = (NIAH_ONE if one else NIAH).format(
        type_needle_v=kind[:-1] if one else kind, context=problem.context, query=query
    )
    assert prompt(problem) == expected
    assert problem.max_tokens == 128 and len(problem.answers) == queries * values
    if hay != "needle":
        assert len(found) == keys * values and len({name for name, _ in found}) == keys


@pytest.mark.parametrize("task", ["niah_single_1", "niah_multikey_2", "niah_multikey_3"])
def test_hay_of_lines_is_noise_or_other_needles(task, word_tokenizer):
    _, kind, key, value, *_ = TASKS[task]
    lines = ruler.sample(task, 4096, tokenizer=word_tokenizer).context.split("\n")
    needle = re.compile(rf"One of the special magic {kind} for {key} is: {value}\.")
    needles = [line for line in lines if needle.fullmatch(line)]
    if task == "niah_single_1":
        assert len(needles) == 1 and {line for line in lines if line not in needles} == {NOISE}
    else:
        assert len(needles) == len(lines) == len(set(lines))


def test_vt_with_its_worked_example(word_tokenizer):
    problem = ruler.sample("vt", 4096, tokenizer=word_tokenizer, seed=3)
    whole = prompt(problem)
    example, _, rest = whole.partition("\n\nMemorize")
    value = re.search(r"VAR [A-Z]{5} = (\d{5})\n", problem.context)[1]
    assert "Memorize" + rest == VT.format(context=problem.context, query=value, num_v=5)
    # RULER's example ends in the prefix, which ends in a space, then a space and the names; a blank line follows.
    shown, names = example.split("they are:  ")
    given = re.search(r"VAR [A-Z]{3} = (\d{5})\n", shown)[1]
    context = shown.partition("\n\n")[2].partition("\nQuestion:")[0]
    assert shown + "they are: " == VT.format(context=context, query=given, num_v=5)
    assert chain(context) == names.split(" ") and all(re.fullmatch("[A-Z]{3}", name) for name in names.split(" "))
    assert given != value and problem.max_tokens == 30


def chain(context):
    """The variables of the one chain, in the order of the text, whose other lines are all noise."""
    lines = [line for line in context.split("\n") if line != NOISE]
    names = [line.split()[1] for line in lines]
    # A variable that takes another's value stands on a line that ends in a space, as in RULER.
    assert lines[1:] == [f"VAR {name} = VAR {before} " for before, name in itertools.pairwise(names)]
    return names


def test_the_example_of_vt_has_as_much_noise_as_500_tokens_hold(each_tokenizer):
    problem = ruler.sample("vt", 8192, tokenizer=each_tokenizer)
    shown = prompt(problem).partition("\n\nMemorize")[0].partition(" they are:  ")[0] + " they are: "
    noise = shown.count(NOISE)
    longer = shown.replace(NOISE, f"{NOISE}\n{NOISE}", 1)
    assert noise >= 5 and each_tokenizer.count(longer) > 500
    assert noise == 5 or each_tokenizer.count(shown) <= 500


def test_assignments_stand_apart(word_tokenizer):
    for index in range(20):
        context = ruler.sample("vt", 900, tokenizer=word_tokenizer, index=index).context
        assert not re.search(r"VAR .*\nVAR ", context)


@pytest.mark.parametrize(
    ("tokens", "words", "common", "other", "least_common"),
    [(4096, 40, 10, 3, 30), (4095, 20, 3, 1, 6)],  # RULER has shorter lists below 4,096
)
def test_cwe_with_its_worked_example(tokens, words, common, other, least_common, word_tokenizer):
    problem = ruler.sample("cwe", tokens, tokenizer=word_tokenizer, seed=3)
    whole = prompt(problem)
    middle = whole.index("\nBelow is a numbered list") + 1
    assert whole[middle:] == CWE.format(context=problem.context)
    shown, _, listed = whole[: middle - 1].partition(" list are: ")
    context = shown.partition("\n")[2].partition("\nQuestion:")[0]
    assert shown + " list are:" == CWE.format(context=context)
    entries = numbered(context)
    counts = {word: entries.count(word) for word in entries}
    assert sorted(counts.values()) == [other] * (words - 10) + [common] * 10
    assert {word for word, count in counts.items() if count == common} == set(numbered(listed))
    assert numbered(problem.context).count(problem.answers[0]) == least_common
    assert problem.max_tokens == 120


def numbered(text):
    """The words of `1. word 2. word …`."""
    parts = text.split(" ")
    assert parts[::2] == [f"{number}." for number in range(1, len(parts) // 2 + 1)]
    return parts[1::2]


def test_fwe(word_tokenizer):
    problem = ruler.sample("fwe", 4096, tokenizer=word_tokenizer, seed=3)
    assert prompt(problem) == FWE.format(context=problem.context)
    assert all(re.fullmatch(r"[a-z]{6}|\.\.\.", word) for word in problem.context.split(" "))
    assert problem.max_tokens == 50


def test_the_question_is_the_prompt_s_without_its_frame(word_tokenizer):
    for task in ruler.GENERATED:
        problem = ruler.sample(task, 4096, tokenizer=word_tokenizer)
        assert problem.tail.endswith(problem.question) and problem.question.endswith(("?", "."))
        assert problem.metric == "ruler_all" and problem.task == task


def test_needles_at_the_ends_of_an_essay_stand_as_in_ruler(word_tokenizer):
    """RULER joins empty stretches too: a space before a needle at 0%, two where needles meet, one after 100%."""
    first = ruler.sample("niah_single_2", 4096, tokenizer=word_tokenizer, depths=[0])
    last = ruler.sample("niah_single_2", 4096, tokenizer=word_tokenizer, depths=[100])
    both = ruler.sample("niah_multivalue", 4096, tokenizer=word_tokenizer, depths=[0, 50, 50, 100])
    assert first.context.startswith(f" {first.facts[0]} ") and last.context.endswith(f" {last.facts[0]} ")
    assert len(re.findall(r"\.  One of the special magic numbers", both.context)) == 1
