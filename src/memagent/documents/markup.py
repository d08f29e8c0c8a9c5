"""All visible text of HTML, plainly: what a layout is checked against and falls back to.

It uses the standard library's tokeniser, so that no nesting is too deep, and knows nothing of layout.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

_UNSEEN = {"script", "style", "template", "title"}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_INLINE = {
    *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd"),
    *(
        "label",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    ),
}
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)


class PlainText(HTMLParser):
    """`text` without scripts, styles and hidden elements, a line a block; `title` as it is declared."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.title = self.text = ""
        self._parts: list[str] = []
        self._titles: list[str] = []
        self._unseen = ""  # the element that hides what is inside it
        self._depth = 0  # of elements of that name
        self.feed(markup)
        self.close()
        self.text = re.sub(r"[^\S\n]*\n\s*", "\n", "".join(self._parts)).strip()
        self.title = " ".join("".join(self._titles).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, or to hide."""
        is_hidden = tag in _UNSEEN or bool(_HIDDEN.search(dict(attrs).get("style") or ""))
        if not self._unseen and is_hidden and tag not in _VOID:
            self._unseen = tag
        if tag == self._unseen:
            self._depth += 1
        if tag not in _INLINE:
            self._parts.append("\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<tag/>` opens nothing; in HTML only elements without an end are so written."""
        if tag not in _VOID:
            self.handle_starttag(tag, attrs)
        elif tag not in _INLINE:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """End a line, or what is hidden."""
        if tag == self._unseen:
            self._depth -= 1
            if self._depth == 0:
                self._unseen = ""
        if tag not in _INLINE:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        """Keep what is seen."""
        if not self._unseen:
            self._parts.append(data)
        elif self._unseen == "title":
            self._titles.append(data)

    def unknown_decl(self, data: str) -> None:
        """CDATA sections are text."""
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))
