"""The document that most tests of the reader read."""

import pytest
from tests.reading.oracle import document_text

from memagent import open_document


@pytest.fixture
def document():
    return open_document(text=document_text(), name="book")
