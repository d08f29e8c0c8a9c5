"""What the journal keeps of how a model was opened."""

import pytest

from memagent.models import ModelOptions


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@localhost:8000/v1",
        "http://localhost:8000/v1?api_key=secret",
        "http://localhost:8000/v1#secret",
    ],
)
def test_a_url_is_kept_without_its_secrets(url):
    options = ModelOptions(model="fake", base_url=url)
    assert options.as_json()["base_url"] == "http://localhost:8000/v1"
    assert options.base_url == url
