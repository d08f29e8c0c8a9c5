"""Anything to text: files, folders, stdin, PDF, HTML, EPUB, DOCX; streamed and cut into chunks."""

from memagent.documents.base import Block, Chunk, Piece, Place, Skipped, Source, Span
from memagent.documents.chunking import cut, split
from memagent.documents.document import Document
from memagent.documents.estimating import ChunkEstimate, estimate
from memagent.documents.opening import open_document

__all__ = [
    "Block",
    "Chunk",
    "ChunkEstimate",
    "Document",
    "Piece",
    "Place",
    "Skipped",
    "Source",
    "Span",
    "cut",
    "estimate",
    "open_document",
    "split",
]
