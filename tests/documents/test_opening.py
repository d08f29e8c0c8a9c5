"""Paths, folders, stdin and strings; what is wrong with them; and what a document's fingerprint means."""

import io
import os
import stat
import threading
import types

import pytest
from tests.documents.helpers import text_of, write_pdf

from memagent.documents import Skipped, open_document
from memagent.errors import DocumentError, OptionError


def tree(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def names(document):
    return [source.name for source in document.sources]


def test_a_single_file_has_no_heading(tmp_path):
    document = open_document(tree(tmp_path, {"a.md": "# Title\n"}) / "a.md")
    assert (document.name, text_of(document), document.characters) == ("a.md", "# Title\n", 8)
    assert document.paths == (str(tmp_path / "a.md"),)


def test_several_files_stand_under_headings_in_the_order_given(tmp_path):
    tree(tmp_path, {"a.md": "first", "b/c.md": "second"})
    document = open_document(tmp_path / "b/c.md", str(tmp_path / "a.md"))
    assert text_of(document) == "--- c.md ---\n\nsecond\n\n--- a.md ---\n\nfirst"
    assert document.characters == len(text_of(document))
    assert document.name == "c.md and 1 more"


def test_names_that_are_alike_are_told_apart(tmp_path):
    tree(tmp_path, {"x/a.md": "first", "y/a.md": "second", "b.md": "third"})
    document = open_document(tmp_path / "x/a.md", tmp_path / "y/a.md", tmp_path / "b.md")
    assert names(document) == ["x/a.md", "y/a.md", "b.md"]


def test_a_folder_is_its_files_in_order(tmp_path):
    tree(tmp_path / "f", {"b.txt": "2", "a/z.py": "1", "c/d/e": "3", ".git/config": "no", "a.md": "0"})
    assert names(open_document(tmp_path / "f")) == ["a/z.py", "a.md", "b.txt", "c/d/e"]
    document = open_document(tmp_path / "f", tmp_path / "f/b.txt")
    assert names(document) == ["f/a/z.py", "f/a.md", "f/b.txt", "f/c/d/e", "b.txt"]
    assert open_document(tmp_path / "f").name == "f"


def test_gitignore_counts_at_every_level(tmp_path):
    tree(
        tmp_path,
        {
            ".git/HEAD": "ref",
            ".gitignore": "*.log\n/build/\n[\n",
            "repo/.gitignore": "secret*\n!important.log\n",
            "repo/a.log": "ignored above",
            "repo/important.log": "taken back",
            "repo/secret.txt": "ignored here",
            "repo/build/x.txt": "another build",
            "repo/sub/.gitignore": "*\n!*.md\n!.gitignore\n",
            "repo/sub/a.md": "kept",
            "repo/sub/a.py": "ignored",
            "repo/sub/deep/a.md": "in an ignored folder",
            "build/y.txt": "ignored",
        },
    )
    inside = [".gitignore", "build/x.txt", "important.log", "sub/.gitignore", "sub/a.md"]
    assert names(open_document(tmp_path / "repo")) == inside
    assert names(open_document(tmp_path)) == [".gitignore", *(f"repo/{name}" for name in inside)]


def test_gitignore_above_counts_only_inside_a_repository(tmp_path):
    tree(tmp_path, {".gitignore": "*", "sub/a.md": "kept"})
    assert names(open_document(tmp_path / "sub")) == ["a.md"]


def test_a_folder_lists_what_it_skips(tmp_path):
    tree(
        tmp_path / "f",
        {"a.txt": "text", "b.bin": b"\0\1\2", "c.txt": "", "d.txt": " \n", "e.pdf": "no", "g/h": "x"},
    )
    (tmp_path / "f/link").symlink_to(tmp_path / "f/g")
    (tmp_path / "f/lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "f/same.txt").symlink_to(tmp_path / "f/a.txt")
    os.mkfifo(tmp_path / "f/pipe")
    document = open_document(tmp_path / "f")
    assert names(document) == ["a.txt", "g/h", "same.txt"]
    assert document.skipped == (
        Skipped("b.bin", "binary, not text"),
        Skipped("c.txt", "empty; there is no text in it"),
        Skipped("d.txt", "empty; there is no text in it"),
        Skipped("e.pdf", "corrupt; it does not begin as PDF files do"),
        Skipped("link", "a link to a folder, which is not followed"),
        Skipped("lost", "a link that leads nowhere"),
        Skipped("pipe", "not a regular file"),
    )


def test_what_may_not_be_read_is_skipped_in_a_folder_and_an_error_alone(tmp_path, monkeypatch):
    tree(tmp_path, {"a.txt": "text", "b.txt": "text", "c/d.txt": "text"})
    opened, scanned = type(tmp_path).open, os.scandir

    def refuse(path, *args, **kwargs):
        if path.name == "b.txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    def refuse_folder(path):
        if str(path).endswith("/c"):
            raise PermissionError(13, "Permission denied")
        return scanned(path)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    document = open_document(tmp_path)
    assert names(document) == ["a.txt"]
    reason = "no permission to read it"
    assert document.skipped == (Skipped("b.txt", reason), Skipped("c/", reason))
    with pytest.raises(DocumentError, match=r"b\.txt: no permission to read it"):
        open_document(tmp_path / "b.txt")
    with pytest.raises(DocumentError, match=r"c: no permission to read it"):
        open_document(tmp_path / "c")


@pytest.mark.parametrize(
    ("files", "path", "reason"),
    [
        ({}, "nope.txt", "not found"),
        ({"a.txt": "x"}, "a.txt/b", "cannot be read"),
        ({"a.txt": ""}, "a.txt", "empty"),
        ({"a.txt": " \n\t\u3000"}, "a.txt", "empty"),
        ({"a.txt": b"\xef\xbb\xbf"}, "a.txt", "empty"),
        ({"a.txt": b"\xff\xfe" + bytes(20)}, "a.txt", "binary"),
        ({"f/a.txt": ""}, "f", r"a folder without any text \(skipped a.txt: empty"),
        ({}, "", "a folder without any file"),
        ({}, "a\0b", "not a path"),
        ({}, "/dev/null", "neither a file nor a folder"),
    ],
)
def test_bad_paths_are_one_line_that_names_them(tmp_path, files, path, reason):
    root = tmp_path / "root"
    root.mkdir()
    tree(root, files)
    with pytest.raises(DocumentError, match=reason) as caught:
        open_document(root / path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(root / path).replace("\0", "\ufffd") + ": ")


def test_neither_files_nor_text_or_both_is_an_option_error(tmp_path):
    with pytest.raises(OptionError):
        open_document()
    with pytest.raises(OptionError):
        open_document("x", text="y")
    with pytest.raises(DocumentError, match="text: empty"):
        open_document(text=" ")


@pytest.mark.parametrize("path", ["", "  ", "\n"])
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tree(tmp_path, {"a.txt": "text"}))
    for paths in ([path], ["a.txt", path]):
        with pytest.raises(OptionError, match=r"^an empty path: name a file or folder$"):
            open_document(*paths)


def test_deeply_nested_folders_are_read_in_order(tmp_path):
    tree(tmp_path, {"d.txt": "first", "e.txt": "last"})
    bottom = tmp_path
    for _ in range(1200):
        bottom /= "d"
        bottom.mkdir()
    (bottom / "a.txt").write_text("deep")
    try:
        assert names(open_document(tmp_path)) == ["d/" * 1200 + "a.txt", "d.txt", "e.txt"]
    finally:  # pytest cannot delete it
        (bottom / "a.txt").unlink()
        os.removedirs(bottom)


@pytest.fixture
def stdin(monkeypatch):
    def give(data):
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))

    return give


def test_stdin_is_kept_so_that_it_can_be_opened_again(tmp_path, stdin):
    spool = tmp_path / "data/spool"
    stdin(b"from a pipe")
    document = open_document("-", spool=spool)
    assert (document.name, text_of(document)) == ("stdin", "from a pipe")
    (kept,) = spool.iterdir()
    assert kept.name.startswith("stdin-") and kept.suffix == ".txt"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert document.paths == (str(kept),)
    assert open_document(*document.paths).fingerprint == document.fingerprint
    stdin(b"from a pipe")
    open_document("-", spool=spool)
    assert list(spool.iterdir()) == [kept]


def test_the_same_stdin_again_leaves_a_reading_in_progress_alone(tmp_path, stdin):
    stdin(b"from a pipe")
    first = open_document("-", spool=tmp_path)
    (kept,) = tmp_path.iterdir()
    before = kept.stat()
    stdin(b"from a pipe")
    open_document("-", spool=tmp_path)
    after = kept.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(tmp_path.iterdir()) == [kept]
    assert text_of(first) == "from a pipe"


def test_a_spooled_file_that_was_spoilt_is_written_anew(tmp_path, stdin):
    stdin(b"from a pipe")
    open_document("-", spool=tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"FROM A PIPE")
    stdin(b"from a pipe")
    assert text_of(open_document("-", spool=tmp_path)) == "from a pipe"


def test_a_closed_stdin_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DocumentError, match=r"^stdin: closed; there is nothing to read$"):
        open_document("-", spool=tmp_path)


def test_stdin_among_files_opens_again_to_the_same_document(tmp_path, stdin):
    (tmp_path / "a.txt").write_text("a file")
    stdin(b"from a pipe")
    document = open_document(tmp_path / "a.txt", "-", spool=tmp_path / "spool")
    assert open_document(*document.paths).fingerprint == document.fingerprint


def test_stdin_can_be_a_pdf_and_can_be_empty(tmp_path, stdin):
    stdin(write_pdf(tmp_path / "a.pdf", ["Some text."]).read_bytes())
    assert "Some text." in text_of(open_document("-", spool=tmp_path / "spool"))
    stdin(b"")
    with pytest.raises(DocumentError, match="stdin: empty"):
        open_document("-", spool=tmp_path / "spool")


def test_stdin_that_cannot_be_kept_is_one_line(tmp_path, stdin):
    (tmp_path / "spool").write_text("a file in the way")
    stdin(b"text")
    with pytest.raises(DocumentError, match="stdin: cannot be kept"):
        open_document("-", spool=tmp_path / "spool")


def test_a_named_pipe_is_spooled_too(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("through a pipe",))
    writer.start()
    document = open_document(tmp_path / "pipe", spool=tmp_path / "spool")
    writer.join()
    assert text_of(document) == "through a pipe"


def test_moving_keeps_the_fingerprint_and_other_text_or_order_does_not(tmp_path):
    tree(tmp_path, {"x/a.md": "first", "x/b/c.md": "second", "y/d.md": "first"})
    folder = open_document(tmp_path / "x").fingerprint
    single = open_document(tmp_path / "x/a.md").fingerprint
    assert open_document(tmp_path / "y/d.md").fingerprint == single
    both = [tmp_path / "x/a.md", tmp_path / "y/d.md"]
    assert open_document(*both).fingerprint != open_document(*reversed(both)).fingerprint
    (tmp_path / "x").rename(tmp_path / "z")
    assert open_document(tmp_path / "z").fingerprint == folder
    (tmp_path / "z/a.md").write_text("First")
    assert open_document(tmp_path / "z").fingerprint != folder


def test_a_file_name_cannot_forge_a_heading(tmp_path):
    tree(tmp_path, {"a\n--- b ---\n": "x", "c": "y"})
    assert names(open_document(tmp_path)) == ["a\ufffd--- b ---\ufffd", "c"]
