"""The method: a problem, a stream of chunks, a memory overwritten step by step, an answer."""

from memagent.reading.journal import Journal
from memagent.reading.reader import Reader
from memagent.reading.result import Evidence, Reading, Turn
from memagent.reading.run import Progress
from memagent.reading.settings import Settings

__all__ = ["Evidence", "Journal", "Progress", "Reader", "Reading", "Settings", "Turn"]
