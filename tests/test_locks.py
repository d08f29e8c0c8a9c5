import pytest

from memagent.errors import JournalError
from memagent.locks import LOCK, alone


def test_one_at_a_time_and_again_afterwards(tmp_path):
    with alone(tmp_path), pytest.raises(JournalError, match="another process is at work"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(JournalError, match=f"cannot lock {tmp_path}: "), alone(tmp_path):
        pass
