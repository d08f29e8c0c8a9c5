"""memagent: any LLM reads a document of any length, chunk by chunk, with a memory you can watch.

>>> from memagent import Reader, open_document
"""

from memagent.documents import Document, open_document
from memagent.errors import MemagentError
from memagent.reading import Evidence, Journal, Progress, Reader, Reading, Settings, Turn

__version__ = "0.1.0"
__all__ = [
    "Document",
    "Evidence",
    "Journal",
    "MemagentError",
    "Progress",
    "Reader",
    "Reading",
    "Settings",
    "Turn",
    "open_document",
]
