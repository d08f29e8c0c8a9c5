"""Peaks of memory are those of what runs inside the block."""

import sys
import threading
import time
import types

import pytest

from memagent.evaluation.memory_use import INTERVAL, watching_memory

SIZE = 150_000_000


def test_a_peak_that_is_gone_at_the_end_is_seen():
    with watching_memory() as calm:
        time.sleep(2 * INTERVAL)
    with watching_memory() as use:
        held = bytearray(SIZE)
        held[::4096] = b"x" * len(held[::4096])  # every page is touched
        time.sleep(3 * INTERVAL)
        del held
    assert calm.resident is not None and use.resident is not None
    assert SIZE * 0.8 < use.resident - calm.resident < SIZE * 1.5


def test_what_was_held_before_does_not_count_later():
    held = bytearray(SIZE)
    held[::4096] = b"x" * len(held[::4096])
    with watching_memory() as before:
        pass
    del held
    with watching_memory() as use:
        time.sleep(2 * INTERVAL)
    assert before.resident - use.resident > SIZE * 0.8


def test_it_ends_with_the_block_also_when_that_fails():
    threads = threading.active_count()
    with pytest.raises(ValueError, match="x"), watching_memory() as use:
        raise ValueError("x")
    assert threading.active_count() == threads and use.resident > 1_000_000


def test_without_psutil_it_is_not_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    with watching_memory() as use:
        pass
    assert use.resident is None


def test_a_gpus_peak_is_asked_of_torch(monkeypatch):
    asked = []
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        reset_peak_memory_stats=lambda: asked.append("reset"),
        max_memory_allocated=lambda: asked.append("read") or 7,
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    with watching_memory() as use:
        assert asked == ["reset"]
    assert use.gpu == 7 and asked == ["reset", "read"]
