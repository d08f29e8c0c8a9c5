"""HTML to text by inscriptis: headings, lists and tables keep their shape, scripts and styles go.

It does not fetch anything and knows no other format; EPUB uses `html_text` for its chapters.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from pathlib import Path

from memagent.documents.base import Block
from memagent.documents.encodings import (
    UTF_8,
    Encoding,
    decode_blocks,
    of_bom,
    of_broken_utf8,
    of_sample,
    telling_lines,
)
from memagent.documents.held import HeldText, hold
from memagent.documents.markup import PlainText
from memagent.extras import extra

_DECLARED = re.compile(rb"""<(?:meta\s[^>]*?charset|\?xml\s[^>]*?encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I)
# What browsers read under these names (WHATWG Encoding Standard): supersets that real pages rely on.
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
_XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
# In XHTML any element may close itself; an HTML parser would take `<title/>` for an opening tag.
_VOID = "area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"
_SELF_CLOSED = re.compile(rf"<(?!(?:{_VOID})\b)([A-Za-z][\w:-]*)(\s[^<>]*)?/>", re.I)


def open_html(path: Path, name: str) -> HeldText:
    """Extract an HTML file, decoded as its byte order mark or its declaration says.

    Raises:
        DocumentError: no text in it (the message lacks the name).
        SetupError: the `documents` extra is missing.
        OSError: it cannot be read.
    """
    text, invalid = decode_html(path.read_bytes())
    notes = [f"{invalid} bytes of {name} are not valid in its encoding and show as U+FFFD"] if invalid else []
    return hold(name, [Block(html_text(text))], notes)


def decode_html(data: bytes) -> tuple[str, int]:
    """The markup as text, and the number of invalid bytes in it, which show as U+FFFD."""
    encoding = of_bom(data) or of_sample(data) or _declared(data) or UTF_8
    text, invalid = _decode(data, encoding)
    if invalid and encoding == UTF_8 and invalid > len(data) - len(text):
        guess = of_broken_utf8(telling_lines(data)[:65536])
        return _decode(data, guess) if guess else (text, invalid)
    return text, invalid


def _decode(data: bytes, encoding: Encoding) -> tuple[str, int]:
    parts = list(decode_blocks(io.BytesIO(data), encoding))
    return "".join(text for text, _ in parts), sum(invalid for _, invalid in parts)


def _declared(data: bytes) -> Encoding | None:
    match = _DECLARED.search(data[:4096])
    if match is None:
        return None
    try:
        name = codecs.lookup(match[1].decode("ascii")).name
        "".encode(name)  # refuses codecs that are no text encodings, such as base64
    except (LookupError, UnicodeError):
        return None
    if name.startswith(("utf-16", "utf-32")):  # cannot be: the declaration itself was read as ASCII
        return UTF_8
    return Encoding(_MEANT.get(name, name))


def html_text(markup: str) -> str:
    """The visible text of `markup`, under its title.

    What is hidden by `display: none` is left out, as in a browser. Where inscriptis loses letters or
    cannot cope (nesting deeper than its parser goes), the text is collected plainly instead.

    Raises:
        SetupError: the `documents` extra is missing.
    """
    if declaration := _XML_DECLARATION.match(markup):
        markup = _SELF_CLOSED.sub(r"<\1\2></\1>", markup[declaration.end() :])
    plain = PlainText(markup)
    text = _laid_out(markup)
    if text is None or _letters(plain.text) - _letters(text):
        text = plain.text
    return f"{plain.title}\n\n{text}" if plain.title and plain.title not in text[:1000] else text


def _letters(text: str) -> Counter[str]:
    return Counter(character for character in text if character.isalnum())


def _laid_out(markup: str) -> str | None:
    """What inscriptis makes of it; None where it fails."""
    with extra("documents", "reading HTML"):
        from inscriptis.html_engine import Inscriptis
        from lxml import etree
        from lxml.html import HTMLParser, document_fromstring
    try:  # huge_tree: without it the parser drops text in deep or long documents
        tree = document_fromstring(markup, parser=HTMLParser(huge_tree=True))
        return str(Inscriptis(tree).get_text())
    except (etree.ParserError, RecursionError, ValueError, AttributeError, IndexError, KeyError, TypeError):
        return None
