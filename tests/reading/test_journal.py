"""The journal: private, durable, shared safely, and clear about what is wrong with it."""

import json
import os
import sqlite3
import stat

import pytest

from memagent.errors import InputError, JournalError, SetupError
from memagent.reading.journal import Call, Entry, Journal, data_folder, new_id


def entry(reading_id="abc", key="k", created=1.0, paths=("/x",)):
    return Entry(
        id=reading_id, created=created, state="reading", problem="p", document="d", fingerprint="f",
        paths=paths, model={"name": "m"}, settings={"seed": None}, key=key, options={},
    )  # fmt: skip


def call(chunk="0", memory="m", attempt=0, **more):
    return Call(chunk=chunk, memory=memory, attempt=attempt, status="done", text="Keep", **more)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "data")
    journal.begin(entry())
    return journal


def test_it_is_private(journal):
    for path in journal.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700


def test_it_lies_where_the_platform_keeps_data(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "memagent"


def test_a_committed_call_is_seen_by_another_process(journal):
    journal.record("abc", call(prompt_tokens=7, cost_usd=0.5), seconds=2.0)
    other = Journal(journal.folder)
    assert other.calls("abc", "0", "m") == [call(prompt_tokens=7, cost_usd=0.5)]
    assert other.calls("abc", "0", "other memory") == []
    assert other.entry("abc").seconds == 2.0
    assert other.spent("abc")["prompt_tokens"] == 7


def test_attempts_count_up_and_cancelled_ones_are_no_answers(journal):
    journal.record("abc", Call(chunk="0", memory="m", attempt=0, status="cancelled", text=""), seconds=0)
    assert journal.next_attempt("abc", "0", "m") == 1
    journal.record("abc", call(attempt=1), seconds=0)
    assert [one.attempt for one in journal.calls("abc", "0", "m")] == [1]
    assert journal.spent("abc")["model_calls"] == 2


def test_accepted_turns_come_with_the_next_commit(journal):
    turn = {"chunk": "0", "start": 0, "end": 5, "outcome": "keep", "memory": None, "trimmed": False,
            "error": None, "evidence": json.dumps([])}  # fmt: skip
    journal.accept("abc", 0, turn)
    assert journal.turns("abc") == []
    journal.record("abc", call(), seconds=0)
    assert [(row["outcome"], row["memory"], row["evidence"]) for row in journal.turns("abc")] == [("keep", None, [])]


def test_no_open_transaction_keeps_others_out(journal):
    journal.accept("abc", 0, {})
    other = sqlite3.connect(journal.folder / "journal.db", timeout=0)
    other.execute("UPDATE readings SET problem = 'q'")
    other.commit()
    other.close()


def test_the_newest_unfinished_reading_is_resumed_before_a_finished_one(journal):
    journal.begin(entry("old", created=0.5))
    journal.begin(entry("new", created=9.0))
    journal.finish("new", {"usage": {"seconds": 1.0}}, turns=0)
    assert journal.newest("k").id == "abc"
    assert journal.newest("other") is None
    assert [one.id for one in journal.entries()] == ["new", "abc", "old"]


def test_ids_may_be_shortened_but_must_be_clear(journal):
    journal.begin(entry("abd"))
    assert journal.entry("abc").id == "abc"
    for bad in ("ab", "x", "", "%", "_bc"):
        with pytest.raises(InputError, match="memagent readings"):
            journal.entry(bad)


def test_deleting_takes_calls_and_turns_along(journal):
    journal.record("abc", call(), seconds=0)
    journal.delete("abc")
    assert journal.calls("abc", "0", "m") == []
    assert journal.entries() == []


def test_spooled_input_goes_when_nothing_needs_it(journal):
    spool = journal.folder / "spool"
    spool.mkdir()
    for name in ("needed", "unneeded"):
        (spool / name).write_text(name)
        os.utime(spool / name, (0, 0))
    (spool / "young").write_text("just spooled")
    journal.begin(entry("two", paths=(str(spool / "needed"),)))
    assert journal.drop_spooled() == 1
    assert sorted(path.name for path in spool.iterdir()) == ["needed", "young"]


def test_a_reading_is_held_by_one_process_at_a_time(journal):
    other = Journal(journal.folder)
    with (
        journal.lock("abc"),
        pytest.raises(JournalError, match="in use by another process"),
        other.lock("abc"),
    ):
        pass
    with other.lock("abc"):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="XDG_DATA_HOME"):
        Journal(tmp_path / "file" / "data")


def test_a_file_that_is_no_journal_is_one_line(tmp_path):
    (tmp_path / "journal.db").write_bytes(b"not a database, " * 100)
    with pytest.raises(SetupError, match="cannot open the journal"):
        Journal(tmp_path)


def test_a_full_disk_is_one_line_and_loses_nothing(journal):
    journal.record("abc", call(), seconds=0)
    pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
    journal._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="disk is full"):
        for number in range(100):
            big = Call(chunk=f"big{number}", memory="m", attempt=0, status="done", text="x" * 10_000)
            journal.record("abc", big, seconds=0)
    assert Journal(journal.folder).calls("abc", "0", "m") == [call()]


def test_a_journal_that_turns_read_only_is_one_line(journal):
    journal._database.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalError, match="cannot be written"):
        journal.record("abc", call(), seconds=0)


def test_ids_differ():
    assert len({new_id() for _ in range(100)}) == 100
