"""A file is the old one or the new one, and nothing stays beside it."""

import pytest

from memagent.atomic import replacing, write_whole


def test_the_old_file_stands_until_the_end(tmp_path):
    path = tmp_path / "report.md"
    write_whole(path, "old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "report.md"
    write_whole(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text("new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_half_a_surrogate_pair_is_written_as_an_escape(tmp_path):
    write_whole(tmp_path / "a", "½ \ud800")
    assert (tmp_path / "a").read_bytes() == "½ \\ud800".encode()
