import ast
import re

import pytest
from tests.tasks.made_up import check_length, one_line

from memagent.errors import DocumentError, InputError, OptionError
from memagent.tasks.code import fitting, sample

FILE = re.compile(r"(?:^|\n\n)--- (\S+) ---\n\n")


def module(number, functions=12):
    """A module with a class and functions of its own, and some that other modules have too."""
    lines = [
        f"class Widget{number}Maker:",
        f"    def paint_{number}_twice(self, colour='shade-{number}00'):",
        "        pass",
    ]
    for at in range(functions):
        lines += [
            "",
            f"def function_{number}_{at}(first, second={at}, third='value {number}-{at}'):",
            "    return first",
        ]
    lines += ["", "class SharedName:", "    pass", "", "def shared_function(level='common value'):", "    pass", ""]
    return "\n".join(lines)


@pytest.fixture
def folder(tmp_path):
    for number in range(10):
        path = tmp_path / "code" / ("inner" if number % 2 else ".") / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(module(number), encoding="utf-8")
    return tmp_path / "code"


def files(context):
    parts = FILE.split(context)
    assert parts[0] == ""
    assert len(set(parts[1::2])) == len(parts[1::2])
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def answers(question, shown):
    """All answers that the shown files give, by their syntax trees; a file that is cut is looked at line by line."""
    found = set()
    for name, text in shown.items():
        try:
            nodes = list(ast.walk(ast.parse(text)))
        except SyntaxError:
            asked = re.search(r"the (?:class|function|method) (\w+)", question)[1]
            assert asked not in text
            continue
        if asked := re.fullmatch(r"In which file is the class (\w+) defined\?", question):
            found |= {name for node in nodes if isinstance(node, ast.ClassDef) and node.name == asked[1]}
            continue
        parameter, function = re.search(r"parameter (\w+) of the (?:function|method) (\w+)", question).groups()
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
                given = node.args
                pairs = [*zip(reversed([*given.posonlyargs, *given.args]), reversed(given.defaults), strict=False)]
                pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
                found |= {str(ast.literal_eval(value)) for argument, value in pairs if argument.arg == parameter}
    return found


@pytest.mark.parametrize("tokens", [2048, 4096, 16_384])
def test_each_question_has_one_answer_in_what_is_shown(folder, tokens, tokenizer):
    chosen = fitting(8, tokens=tokens, tokenizer=tokenizer, source=str(folder))
    assert len(chosen.indices) == 8
    for index in chosen.indices:
        problem = sample(tokens=tokens, tokenizer=tokenizer, source=str(folder), index=index)
        check_length(problem, tokens, tokenizer)
        shown = files(problem.context)
        assert answers(problem.question, shown) == {problem.answers[0]}
        assert shown[problem.notes["file"]] == (folder / problem.notes["file"]).read_text(encoding="utf-8").strip()
        assert all(fact in shown[problem.notes["file"]] for fact in problem.facts)
        assert problem.notes["files"] == len(shown)


def test_the_standard_library_is_code_too(words):
    chosen = fitting(4, tokens=8192, tokenizer=words)
    kinds = set()
    for index in chosen.indices:
        problem = sample(tokens=8192, tokenizer=words, index=index)
        check_length(problem, 8192, words)
        assert answers(problem.question, files(problem.context)) == {problem.answers[0]}
        assert problem.notes["source"].startswith("standard library of Python 3.")
        kinds.add(problem.question.split()[0])
    assert kinds == {"In", "What"}


def asked(folder, count=200):
    from memagent.models.scripted import WordTokenizer

    found = fitting(count, tokens=10**6, tokenizer=WordTokenizer(), source=str(folder))
    made = [sample(tokens=3000, tokenizer=WordTokenizer(), source=str(folder), index=index) for index in found.indices]
    return {problem.question: problem.answers[0] for problem in made}


def test_only_names_that_are_defined_once_and_answers_that_tell_are_asked_for(tmp_path):
    (tmp_path / "a.py").write_text(
        """
class Lonely:
    def method_of_it(self, *, text="two dogs"): ...
    def repeated(self, size=4096): ...
def repeated(size=8192): ...
def short_number(value=12): ...
def longer_number(value=1234): ...
def in_another_base(value=0xFFFF): ...
def with_escapes(value="tab\\there"): ...
def reads_itself(default="default"): ...
def is_true(flag=True): ...
def is_empty(text="", other="   "): ...
def of_marks(text="---"): ...
async def later_function(text="some day"): ...
if Lonely:
    def conditional(x="first branch"): ...
else:
    def conditional(x="second branch"): ...
class Tiny: ...
""",
        encoding="utf-8",
    )
    (tmp_path / "b.py").write_text("\n".join(f"number_{at} = {at}" for at in range(40)), encoding="utf-8")
    assert asked(tmp_path) == {
        "In which file is the class Lonely defined?": "a.py",
        "What is the default value of the parameter text of the method method_of_it of the class Lonely?": "two dogs",
        "What is the default value of the parameter value of the function longer_number?": "1234",
        "What is the default value of the parameter text of the function later_function?": "some day",
    }


def test_what_other_files_speak_of_is_not_shown_beside_it(folder, words):
    (folder / "about.py").write_text("# Widget3Maker is defined elsewhere\n" + module(99), encoding="utf-8")
    for index in range(200):
        problem = sample(tokens=3000, tokenizer=words, source=str(folder), index=index)
        if "Widget3Maker" in problem.question and problem.question.startswith("In which"):
            break
    longest = sample(tokens=30_000, tokenizer=words, source=str(folder), index=index)
    assert longest.answers == ("inner/module_3.py",) and "defined elsewhere" not in longest.context


def test_lines_are_counted_as_the_syntax_tree_counts_them(tmp_path):
    text = "x = 1\n\x0c\ndef page_after_page(paper='letter size'):\n    pass\n"
    (tmp_path / "a.py").write_text(text, encoding="utf-8")
    (tmp_path / "b.py").write_text("\n".join(f"number_{at} = {at}" for at in range(40)), encoding="utf-8")
    from memagent.models.scripted import WordTokenizer

    problem = sample(tokens=1500, tokenizer=WordTokenizer(), source=str(tmp_path))
    assert problem.facts == ("def page_after_page(paper='letter size'):",)


def test_questions_stay_the_same_at_every_length_and_by_seed(folder, words):
    source = str(folder)
    for index in range(4):
        made = [sample(tokens=tokens, tokenizer=words, source=source, index=index) for tokens in (2048, 2048, 9000)]
        assert made[0] == made[1] and made[0].question == made[2].question
    seeds = [[sample(tokens=2048, tokenizer=words, source=source, seed=seed, index=index).question
              for index in range(6)] for seed in (0, 1)]  # fmt: skip
    assert seeds[0] != seeds[1]


def test_files_that_run_out_are_repeated_as_copies_and_the_record_says_so(folder, words):
    problem = sample(tokens=30_000, tokenizer=words, source=str(folder))
    assert problem.notes["extended"] == "files are repeated as copies in other folders, in another order each time"
    shown = files(problem.context)
    assert sum(name.startswith("copy_2/") for name in shown) > 0
    assert answers(problem.question, shown) == {problem.answers[0]}
    assert "extended" not in sample(tokens=2048, tokenizer=words, source=str(folder)).notes


def test_a_shortened_file_is_noted(folder, words):
    problem = sample(tokens=4096, tokenizer=words, source=str(folder))
    number, left, before = map(int, re.findall(r"\d+", problem.notes["shortened"]))
    text = FILE.split(problem.context)[2 * number]
    name = FILE.split(problem.context)[2 * number - 1]
    whole = (folder / name.removeprefix("copy_2/")).read_text(encoding="utf-8")
    assert whole.startswith(text) and whole[len(text)].isspace()
    header = len(f"--- {name} ---".split())
    assert (left, before) == (header + len(text.split()), header + len(whole.split()))


def test_two_code_bases_do_not_mix(folder, tmp_path, words):
    other = tmp_path / "other"
    other.mkdir()
    for number in range(3):
        (other / f"piece_{number}.py").write_text(module(500 + number), encoding="utf-8")
    for _ in range(2):
        assert "module_" in sample(tokens=2048, tokenizer=words, source=str(folder)).notes["file"]
        assert "piece_" in sample(tokens=2048, tokenizer=words, source=str(other)).notes["file"]


def test_what_python_cannot_read_is_passed_over(folder, words):
    (folder / "broken.py").write_text("def broken(:\n", encoding="utf-8")
    (folder / "latin.py").write_bytes(b"# \xe9\nclass LatinOne: pass\n")
    (folder / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000, encoding="utf-8")
    (folder / "odd.py").write_text("pattern = '\\d'\n", encoding="utf-8")
    (folder / ".gitignore").write_text("ignored.py\n", encoding="utf-8")
    (folder / "ignored.py").write_text("class IgnoredClass: pass\n", encoding="utf-8")
    names = files(sample(tokens=60_000, tokenizer=words, source=str(folder)).context)
    assert "odd.py" in names and not {"broken.py", "latin.py", "deep.py", "ignored.py"} & {*names}


def test_faults_are_one_line(folder, tmp_path, words):
    with pytest.raises(DocumentError, match=r"there is no folder .*gone"):
        sample(tokens=4096, tokenizer=words, source=str(tmp_path / "gone"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DocumentError, match="empty holds no Python file to ask about"):
        fitting(4, tokens=4096, tokenizer=words, source=str(tmp_path / "empty"))
    with pytest.raises(OptionError) as caught:
        sample(tokens=200, tokenizer=words, source=str(folder))
    needed = int(re.search(r"this question and its file need (\d+) tokens: 200 are too few", one_line(caught))[1])
    check_length(sample(tokens=needed, tokenizer=words, source=str(folder)), needed, words)
    with pytest.raises(OptionError, match="code has no problem of 200 tokens or fewer: the smallest needs "):
        fitting(4, tokens=200, tokenizer=words, source=str(folder))
    with pytest.raises(OptionError, match="questions: there is no number 9999"):
        sample(tokens=4096, tokenizer=words, source=str(folder), index=9999)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "a.py").write_text(module(1), encoding="utf-8")
    with pytest.raises(InputError, match="holds no file that does not speak of"):
        sample(tokens=4096, tokenizer=words, source=str(alone))
