"""Every reading and every finished model call, on disk, so that nothing is asked twice.

A call is keyed by what decides its outcome: its reading, its chunk and the memory it was shown. Resuming
is reading again from the start with finished calls answered from here, so there is no second code
path for it. SQLite in WAL mode: a commit survives kill -9. It does not know models or documents, and
stores no key or secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time
import weakref
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs

from memagent.errors import InputError, JournalError, SetupError
from memagent.locks import held
from memagent.reading.result import Start

_SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    id TEXT PRIMARY KEY, created REAL NOT NULL, updated REAL NOT NULL, state TEXT NOT NULL,
    problem TEXT NOT NULL, document TEXT NOT NULL, fingerprint TEXT NOT NULL, paths TEXT NOT NULL,
    model TEXT NOT NULL, settings TEXT NOT NULL, key TEXT NOT NULL, seconds REAL NOT NULL DEFAULT 0,
    options TEXT NOT NULL, chunk_bytes INTEGER, start TEXT, result TEXT);
CREATE INDEX IF NOT EXISTS readings_by_key ON readings (key, created);
CREATE TABLE IF NOT EXISTS calls (
    reading TEXT NOT NULL REFERENCES readings (id) ON DELETE CASCADE, chunk TEXT NOT NULL,
    memory TEXT NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    thinking TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL,
    logprob REAL,
    PRIMARY KEY (reading, chunk, memory, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turns (
    reading TEXT NOT NULL REFERENCES readings (id) ON DELETE CASCADE, position INTEGER NOT NULL,
    chunk TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, outcome TEXT NOT NULL,
    memory TEXT, trimmed INTEGER NOT NULL, error TEXT, evidence TEXT NOT NULL,
    PRIMARY KEY (reading, position)) WITHOUT ROWID;
"""

VERSION = 2  # of the tables
# From each older version to the next.
_STEPS = {1: ("ALTER TABLE calls ADD COLUMN logprob REAL", "ALTER TABLE readings ADD COLUMN start TEXT")}
YOUNG = 3600  # seconds for which spooled input is kept in any case
CallStatus = Literal["done", "refused", "overflow", "cancelled", "forgotten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One finished model call. `chunk` names what it was shown of the document, `memory` is a digest.

    `status` is `done`, or why it gave no reply: `refused` and `overflow` have the message as `text`;
    `cancelled` calls were given up under way, and `forgotten` ones are to be asked again; both only count. `logprob` is
    the first token's, where it was asked for.
    """

    chunk: str
    memory: str
    attempt: int
    status: CallStatus = "done"
    text: str = ""
    finish: Literal["stop", "length"] = "stop"
    thinking: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    logprob: float | None = None


_CALL_FIELDS = tuple(Call.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known about a reading before it starts, and what it has come to.

    `key` digests all that must be equal for it to be resumed; `paths` are where the document was found and
    `options` how its model was opened, so that `readings resume` can do both again. `chunk_bytes` is the
    most bytes of a chunk where tokens are estimated: the same again gives the same chunks. `start` is where it begins
    if not at the document's start.
    """

    id: str
    created: float
    state: Literal["reading", "finished"]
    problem: str
    document: str
    fingerprint: str
    paths: tuple[str, ...]
    model: dict[str, str]
    settings: dict[str, Any]
    key: str
    options: dict[str, Any]
    chunk_bytes: int | None = None
    start: Start | None = None
    seconds: float = 0.0
    result: dict[str, Any] | None = None


def data_folder() -> Path:
    """Where readings are kept: `$XDG_DATA_HOME/memagent`, or the platform's equivalent."""
    return Path(platformdirs.user_data_dir("memagent", appauthor=False))


def new_id() -> str:
    """A fresh reading id: ten hexadecimal digits."""
    return secrets.token_hex(5)


class Journal:
    """The store. One object per process and event loop; several processes may share the file.

    Raises:
        SetupError: the folder or file cannot be opened for writing.
        JournalError: a later write fails (full disk, file turned read-only).
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Keep readings under `folder`; None keeps them in memory, for this process only."""
        self.folder = folder
        self._database = _open(folder)
        self._accepted: list[dict[str, Any]] = []
        self._closing = weakref.finalize(self, self._database.close)

    @classmethod
    def default(cls) -> Journal:
        """The user's own journal."""
        return cls(data_folder())

    def close(self) -> None:
        """Close the file. Nothing is lost without it."""
        self._closing()

    @contextlib.contextmanager
    def lock(self, reading_id: str) -> Iterator[None]:
        """Hold a reading for this process; the system lets go of it even after kill -9.

        Raises:
            JournalError: another process is reading it.
        """
        if self.folder is None:
            yield
            return
        name = f"reading {reading_id}"
        busy = f"{name} is in use by another process: wait for it, or ask without --resume"
        with held(self.folder / "locks" / f"{reading_id}.lock", busy=busy, name=name):
            yield

    def begin(self, entry: Entry) -> None:
        """Write down a reading, unless it is there already."""
        with _writing(), self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO readings (id, created, updated, state, problem, document, fingerprint, paths,"
                " model, settings, key, options, chunk_bytes, start) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (entry.id, entry.created, entry.created, entry.state, entry.problem, entry.document,
                 entry.fingerprint, json.dumps(entry.paths), json.dumps(entry.model),
                 json.dumps(entry.settings), entry.key, json.dumps(entry.options), entry.chunk_bytes,
                 entry.start and json.dumps(asdict(entry.start))),
            )  # fmt: skip

    def calls(self, reading_id: str, chunk: str, memory: str) -> list[Call]:
        """The finished calls for `chunk` with that memory, in order of their attempts."""
        rows = self._database.execute(
            f"SELECT {', '.join(_CALL_FIELDS)} FROM calls WHERE reading = ? AND chunk = ? AND memory = ?"
            " AND status IN ('done', 'refused', 'overflow') ORDER BY attempt",
            (reading_id, chunk, memory),
        )
        return [Call(**dict(zip(_CALL_FIELDS, row, strict=True))) for row in rows]

    def record(self, reading_id: str, call: Call, seconds: float) -> None:
        """Commit a finished call; `seconds` is what the reading has taken so far, over all sessions."""
        marks = ", ".join("?" * (len(_CALL_FIELDS) + 2))
        values = [getattr(call, name) for name in _CALL_FIELDS]
        with _writing(), self._database:
            self._database.execute(
                f"INSERT INTO calls (reading, at, {', '.join(_CALL_FIELDS)}) VALUES ({marks})",
                (reading_id, time.time(), *values),
            )
            self._write_accepted()
            self._database.execute(
                "UPDATE readings SET updated = ?, seconds = ? WHERE id = ?",
                (time.time(), seconds, reading_id),
            )

    def next_attempt(self, reading_id: str, chunk: str, memory: str) -> int:
        """The first attempt number not used yet for that chunk and memory."""
        row = self._database.execute(
            "SELECT MAX(attempt) FROM calls WHERE reading = ? AND chunk = ? AND memory = ?",
            (reading_id, chunk, memory),
        ).fetchone()
        return 0 if row[0] is None else int(row[0]) + 1

    def spent(self, reading_id: str) -> dict[str, float]:
        """Sums over all calls of a reading, in the names of `result.Usage` (without seconds)."""
        names = ("prompt_tokens", "cached_tokens", "completion_tokens", "cost_usd")
        row = self._database.execute(
            f"SELECT COUNT(*), {', '.join(f'TOTAL({name})' for name in names)} FROM calls WHERE reading = ?",
            (reading_id,),
        ).fetchone()
        return dict(zip(("model_calls", *names), row, strict=True))

    def accept(self, reading_id: str, position: int, turn: dict[str, Any]) -> None:
        """Note an accepted turn, for looking at. It is written with the next commit: a replay redoes it."""
        self._accepted.append({"reading": reading_id, "position": position, **turn})

    def forget_refusals(self, reading_id: str) -> None:
        """Let a resumed reading ask again what gave no reply."""
        with _writing(), self._database:
            self._database.execute(
                "UPDATE calls SET status = 'forgotten' WHERE reading = ? AND status IN ('refused', 'overflow')",
                (reading_id,),
            )

    def finish(self, reading_id: str, result: dict[str, Any], *, turns: int) -> None:
        """Write down the finished reading, which came to so many `turns`."""
        with _writing(), self._database:
            self._write_accepted()
            # A session with another window may have cut the document into more chunks than the last one.
            self._database.execute("DELETE FROM turns WHERE reading = ? AND position >= ?", (reading_id, turns))
            self._database.execute(
                "UPDATE readings SET state = 'finished', updated = ?, seconds = ?, result = ? WHERE id = ?",
                (time.time(), result["usage"]["seconds"], json.dumps(result), reading_id),
            )

    def newest(self, key: str) -> Entry | None:
        """The reading that `--resume` means: the newest unfinished one with that key, else the newest."""
        rows = self._entries("WHERE key = ? ORDER BY state = 'finished', created DESC LIMIT 1", key)
        return rows[0] if rows else None

    def entries(self) -> list[Entry]:
        """All readings, the newest first."""
        return self._entries("ORDER BY created DESC")

    def entry(self, reading_id: str) -> Entry:
        """The reading whose id starts with `reading_id`.

        Raises:
            InputError: none does, or several do.
        """
        pattern = reading_id.replace("%", "").replace("_", "") + "%"
        rows = self._entries("WHERE id LIKE ? ORDER BY created DESC", pattern)
        if len(rows) != 1 or not reading_id:
            what = "several readings start" if rows and reading_id else "no reading starts"
            raise InputError(f"{what} with {reading_id!r}: `memagent readings` lists them")
        return rows[0]

    def turns(self, reading_id: str, first: int = 0) -> list[dict[str, Any]]:
        """The accepted turns from number `first` on in order, as plain records; `memory` is None where it did not
        change."""
        wanted = "SELECT * FROM turns WHERE reading = ? AND position >= ? ORDER BY position"
        cursor = self._database.execute(wanted, (reading_id, first))
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        for row in rows:
            row["evidence"], row["trimmed"] = json.loads(row["evidence"]), bool(row["trimmed"])
        return rows

    def delete(self, reading_id: str) -> None:
        """Forget a reading with its calls and turns."""
        with _writing(), self._database:
            self._database.execute("DELETE FROM readings WHERE id = ?", (reading_id,))
        if self.folder is not None:
            (self.folder / "locks" / f"{reading_id}.lock").unlink(missing_ok=True)

    def drop_spooled(self) -> int:
        """Delete spooled stdin that no reading refers to and free the file's unused pages; how many went."""
        with _writing():
            self._database.execute("VACUUM")
        needed = {path for entry in self.entries() for path in entry.paths}
        spooled = list((self.folder / "spool").glob("*")) if self.folder else []
        young = time.time() - YOUNG  # input that is being written, or whose reading is about to begin
        unneeded = [path for path in spooled if str(path) not in needed and path.stat().st_mtime < young]
        for path in unneeded:
            path.unlink(missing_ok=True)
        return len(unneeded)

    def _write_accepted(self) -> None:
        # An open transaction would keep other processes out while a model thinks, hence the list.
        self._database.executemany(
            "INSERT OR REPLACE INTO turns (reading, position, chunk, start, end, outcome, memory, trimmed, error,"
            " evidence) VALUES (:reading, :position, :chunk, :start, :end, :outcome, :memory, :trimmed, :error,"
            " :evidence)",
            self._accepted,
        )
        self._accepted.clear()

    def _entries(self, condition: str, *values: str) -> list[Entry]:
        names = tuple(Entry.__dataclass_fields__)
        rows = self._database.execute(f"SELECT {', '.join(names)} FROM readings {condition}", values)
        return [_entry(dict(zip(names, row, strict=True))) for row in rows]


def _entry(row: dict[str, Any]) -> Entry:
    for name in ("paths", "model", "settings", "options", "start", "result"):
        row[name] = None if row[name] is None else json.loads(row[name])
    row["paths"] = tuple(row["paths"])
    row["start"] = row["start"] and Start(**row["start"])
    return Entry(**row)


def _open(folder: Path | None) -> sqlite3.Connection:
    """The database, made where it is missing: mode 0600, in a folder of mode 0700."""
    try:
        # The garbage collector may close it from any thread; nothing else uses it from another one.
        where = ":memory:" if folder is None else _private_file(folder)
        database = sqlite3.connect(where, timeout=60, check_same_thread=False)
        try:
            _prepare(database)
        except BaseException:
            database.close()
            raise
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise SetupError(
            f"cannot open the journal in {folder}: {why}; make it writable or set XDG_DATA_HOME elsewhere"
        ) from error
    return database


def _private_file(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "journal.db"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return path


def _prepare(database: sqlite3.Connection) -> None:
    # WAL with synchronous=NORMAL: a commit costs microseconds and outlives the process, which is
    # what resuming needs; a power cut may lose the last turns but leaves the file sound.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA foreign_keys = ON")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    while version in _STEPS:
        with database:  # all of a step or nothing of it
            database.execute("BEGIN IMMEDIATE")
            if database.execute("PRAGMA user_version").fetchone()[0] == version:  # no other process was faster
                for statement in _STEPS[version]:
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {version + 1}")
        version += 1
    if version != VERSION and database.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise sqlite3.DatabaseError("it was written by another version of memagent")
    database.executescript(f"{_SCHEMA} PRAGMA user_version = {VERSION};")


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeError) as error:
        raise JournalError(
            f"the journal cannot be written ({error}): free some space or make it writable, then resume"
        ) from error
