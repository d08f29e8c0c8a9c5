"""Plain text files: encodings, broken bytes, changes while reading, and memory."""

import os
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.documents.helpers import EveryFour, text_of

from memagent.documents import cut, open_document
from memagent.documents.encodings import BLOCK_BYTES
from memagent.errors import DocumentError

RUSSIAN = "Корабль вышел из гавани на рассвете, и больше его никто не видел. Это было третьего мая. " * 20
FRENCH = "Le bateau a quitté le port à l'aube, et personne ne l'a revu après. C'était déjà l'été. " * 20
JAPANESE = "船は夜明けに港を出た。それから誰も見ていない。五月三日のことだった。\n" * 40
KOREAN = "배는 새벽에 항구를 떠났고, 아무도 다시 보지 못했다. 오월 삼일의 일이었다.\n" * 40
CHINESE = "船在黎明时离开了港口，没有人再见过它。那是五月三日的事情。\n" * 40


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", RUSSIAN),
        ("utf-8-sig", RUSSIAN),
        ("utf-16", KOREAN),
        ("utf-16-le", FRENCH),
        ("utf-16-be", JAPANESE),
        ("utf-32", CHINESE),
        ("utf-32-le", FRENCH),
        ("utf-32-be", CHINESE),
        ("cp1252", FRENCH),
        ("cp1251", RUSSIAN),
        ("koi8-r", RUSSIAN),
        ("shift_jis", JAPANESE),
        ("euc-kr", KOREAN),
        ("gb18030", CHINESE),
        ("iso2022_jp", JAPANESE),
    ],
)
def test_any_encoding_is_read(tmp_path, encoding, text):
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode(encoding))
    document = open_document(path)
    assert text_of(document) == text
    assert document.characters == len(text)
    guessed = not encoding.startswith("utf")
    assert len(document.notes) == guessed
    assert all("by the look of it" in note for note in document.notes)


@given(st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text[:100]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_of_utf8_are_given_back_exactly(tmp_path, text):
    path = tmp_path / "x.txt"
    path.write_bytes(b"text: " * 30 + text.encode())
    document = open_document(path)
    assert text_of(document) == "text: " * 30 + text
    assert document.fingerprint == open_document(text=text_of(document)).fingerprint


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_ends_are_kept_and_characters_across_blocks_are_whole(tmp_path, ending):
    path = tmp_path / "x.txt"
    text = f"漢字{ending}" * 30_000
    path.write_bytes(b"a" + text.encode())
    assert text_of(open_document(path)) == "a" + text


def test_a_few_broken_bytes_are_shown_and_counted(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("Les élèves ont été là.\n".encode() * 5000 + b"a\xffb\xfe\xc3" + "fin à là".encode())
    document = open_document(path)
    assert document.notes == ("3 bytes of x.txt are not valid UTF-8 and show as U+FFFD",)
    assert text_of(document).endswith("a\ufffdb\ufffd\ufffdfin à là")
    assert document.characters == len(text_of(document))


def test_a_broken_byte_at_the_very_end_of_a_long_file_is_noticed(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("élève ".encode() * 100_000 + b"\xff")
    assert open_document(path).notes == ("1 byte of x.txt is not valid UTF-8 and shows as U+FFFD",)


def test_a_lone_surrogate_in_a_string_becomes_a_replacement_character():
    assert text_of(open_document(text="a\ud800b")) == "a\ufffdb"


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF" + bytes(range(256)) * 20,
        b"\0\1\2\3",
        b"text\0text",
        bytes(range(1, 32)) * 10,
        b"text " * 2000 + bytes(4000),
        b"text " * 19_000 + bytes(9000),  # beyond the first 64 KiB
    ],
)
def test_binary_files_are_refused(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DocumentError, match="x: binary, not text"):
        open_document(tmp_path / "x")


def test_a_file_that_grew_before_it_is_read_is_refused(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("before")
    document = open_document(path)
    path.write_text("before and after")
    with pytest.raises(DocumentError, match=r"x\.txt: changed since it was opened"):
        text_of(document)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"a" * BLOCK_BYTES * 3)
    pieces = open_document(path).pieces()
    next(pieces)
    path.write_bytes(b"b" * BLOCK_BYTES * 3)
    os.utime(path, ns=(0, 0))
    with pytest.raises(DocumentError, match="changed since it was opened"):
        list(pieces)


def test_a_file_that_is_replaced_while_it_is_read_is_refused(tmp_path):
    path, other = tmp_path / "x.txt", tmp_path / "y.txt"
    path.write_bytes(b"a" * BLOCK_BYTES * 3)
    other.write_bytes(b"b" * BLOCK_BYTES * 4)
    pieces = open_document(path).pieces()
    next(pieces)
    other.replace(path)
    with pytest.raises(DocumentError, match="changed since it was opened"):
        list(pieces)


def test_a_file_that_is_gone_when_it_is_read_is_refused(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("text")
    document = open_document(path)
    path.unlink()
    with pytest.raises(DocumentError, match=r"x\.txt: not found"):
        text_of(document)


@pytest.mark.parametrize("exact", [False, True])
def test_thirty_megabytes_are_cut_in_flat_memory(tmp_path, exact):
    path = tmp_path / "long.txt"
    line = ("Abcdefghijklmnopqrstuvwxyz" * 4 + ". ") * 9 + "\n"  # few spaces, as tracing memory is slow
    with path.open("w") as out:
        for _ in range(30):
            out.write(line * 1050)
    assert path.stat().st_size > 29_000_000
    tracemalloc.start()
    try:
        chunks = characters = 0
        for chunk in cut(open_document(path), EveryFour(), tokens=5000, exact=exact):
            chunks += 1
            characters += len(chunk.text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert characters == path.stat().st_size
    assert chunks > 1400
    assert peak < (16_000_000 if exact else 6_000_000)


def test_of_a_file_that_grows_what_was_there_is_read(tmp_path):
    path = tmp_path / "x.log"
    path.write_text("one\ntwo\n")
    document = open_document(path, growing=True)
    with path.open("a") as file:
        file.write("three\n" * BLOCK_BYTES)
    assert text_of(document) == "one\ntwo\n" and document.characters == 8
    path.write_text("one")
    with pytest.raises(DocumentError, match="changed since it was opened"):
        text_of(document)


@pytest.mark.parametrize(
    ("data", "text"), [(b"a\xc3", "a"), (b"a\xe6\xa9", "a"), (b"a\xc3\xa9", "aé"), (b"a\xf0\x9f", "a")]
)
def test_a_character_that_is_half_written_is_left_for_the_next_time(tmp_path, data, text):
    path = tmp_path / "x.log"
    path.write_bytes(data)
    document = open_document(path, growing=True)
    assert text_of(document) == text


def test_only_text_can_be_followed_as_it_grows(tmp_path):
    path = tmp_path / "x.html"
    path.write_text("<html><body>Text.</body></html>")
    with pytest.raises(DocumentError, match="no plain text"):
        open_document(path, growing=True)
