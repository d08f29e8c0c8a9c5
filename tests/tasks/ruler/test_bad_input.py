"""What cannot be made ends in one line that says what to do."""

import math
import re

import pytest

from memagent.errors import DocumentError, OptionError, SetupError
from memagent.tasks import ruler

NIAH = "niah_single_1, niah_single_2, niah_single_3, niah_multikey_1, niah_multikey_2, niah_multikey_3, " + (
    "niah_multivalue, niah_multiquery"
)


@pytest.mark.parametrize(
    ("task", "changes", "line"),
    [
        ("niah", {}, f"there is no RULER task niah: the tasks are {NIAH}, vt, cwe, fwe, qa_1, qa_2"),
        ("niah_multikey_1", {"depths": [50]}, "niah_multikey_1 takes 4 depths from 0 to 100, not [50]"),
        ("niah_single_1", {"depths": [1, 2]}, "niah_single_1 takes 1 depth from 0 to 100, not [1, 2]"),
        ("niah_single_1", {"depths": []}, "niah_single_1 takes 1 depth from 0 to 100, not []"),
        ("niah_single_3", {"depths": [101]}, "niah_single_3 takes 1 depth from 0 to 100, not [101]"),
        ("niah_single_3", {"depths": [-1]}, "niah_single_3 takes 1 depth from 0 to 100, not [-1]"),
        ("niah_single_3", {"depths": [math.nan]}, "niah_single_3 takes 1 depth from 0 to 100, not [nan]"),
        ("vt", {"depths": [50]}, f"vt takes no depths: {NIAH} do"),
        ("qa_2", {"depths": [50]}, f"qa_2 takes no depths: {NIAH} do"),
    ],
)
def test_options(task, changes, line, word_tokenizer):
    with pytest.raises(OptionError) as caught:
        ruler.sample(task, 4096, tokenizer=word_tokenizer, **changes)
    assert str(caught.value) == line


@pytest.mark.parametrize("tokens", [-1, 0, 100])
def test_too_few_tokens(tokens, word_tokenizer):
    for task in ruler.GENERATED:
        for verify in (True, False):
            with pytest.raises(OptionError, match=rf"^{task} needs at least \d+ tokens: {tokens} are too few$"):
                ruler.sample(task, tokens, tokenizer=word_tokenizer, verify=verify)


@pytest.mark.parametrize(("task", "dataset"), [("qa_1", "squad"), ("qa_2", "hotpotqa")])
def test_questions_without_their_data_say_how_to_get_it(task, dataset, word_tokenizer):
    with pytest.raises(SetupError) as caught:
        ruler.sample(task, 4096, tokenizer=word_tokenizer)
    line = str(caught.value)
    assert re.fullmatch(rf"{dataset} needs its data: fetch https?://\S+ and give --source FILE[^\n]*", line)


def test_there_is_no_smallest_problem_of_a_task_that_is_not_generated(word_tokenizer):
    for task in ("qa_1", "niah"):
        with pytest.raises(OptionError, match=f"^there is no RULER task {task}: the tasks are {NIAH}, vt, cwe, fwe$"):
            ruler.minimum(task, word_tokenizer)


def test_a_haystack_that_is_not_there(word_tokenizer):
    with pytest.raises(DocumentError, match=r"nowhere\.txt: not found"):
        ruler.sample("niah_single_2", 4096, tokenizer=word_tokenizer, haystack="nowhere.txt")


def test_tasks_without_an_essay_do_not_look_for_the_haystack(word_tokenizer):
    for task in ("niah_single_1", "niah_multikey_3", "vt", "cwe", "fwe"):
        assert ruler.sample(task, 4096, tokenizer=word_tokenizer, haystack="nowhere.txt").length
