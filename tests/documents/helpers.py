"""Tokenizers and files that several tests of this room share."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import accumulate

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SENTENCES = [
    "The ship left the harbour at dawn, and nobody saw it again. It was the 3rd of May!",
    "def read(path):\n    return path.read_text()\n",
    "강은 마을 뒤로 흘렀다. 배는 새벽에 떠났다.",
    "船在黎明时离开了港口。没有人再见过它！",
]


class BytePairs:
    """A byte-level BPE, trained on a few sentences: most characters beyond ASCII are several tokens."""

    name = "byte pairs"
    exact = True

    def __init__(self):
        self.model = Tokenizer(models.BPE())
        self.model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.model.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
        self.model.train_from_iterator(SENTENCES, trainer)

    def encode(self, text):
        return self.model.encode(text, add_special_tokens=False)

    def ends(self, text):
        return list(accumulate((end for _, end in self.encode(text).offsets), max))

    def count(self, text):
        return len(self.encode(text).ids)


class _EveryFourth(Sequence[int]):
    """4, 8, 12 … and `length`, without holding them."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return -(-self.length // 4)

    def __getitem__(self, index):
        return min(4 * (range(len(self))[index] + 1), self.length)


class EveryFour:
    """A token for every four characters: fast, and light on memory."""

    name = "every four"
    exact = True

    def ends(self, text):
        return _EveryFourth(len(text))

    def count(self, text):
        return -(-len(text) // 4)


def write_pdf(path, pages):
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path))
    for text in pages:
        if text:
            canvas.drawString(72, 720, text)
        else:
            canvas.rect(72, 600, 100, 100)
        canvas.showPage()
    canvas.save()
    return path


def write_epub(path, chapters, *, spine=None, encryption=None, leave_out=()):
    """`chapters` maps file names to the markup inside <body>; `spine` is their reading order."""
    items = "".join(
        f'<item id="c{i}" href="{name.replace(" ", "%20")}" media-type="application/xhtml+xml"/>'
        for i, name in enumerate(chapters)
    )
    order = spine or list(chapters)
    references = "".join(f'<itemref idref="c{list(chapters).index(name)}"/>' for name in order)
    package = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        f"<metadata/><manifest>{items}</manifest><spine>{references}</spine></package>"
    )
    container = (
        '<?xml version="1.0"?>'
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
        '<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>'
        "</rootfiles></container>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("OEBPS/book.opf", package)
        if encryption is not None:
            archive.writestr("META-INF/encryption.xml", encryption)
        for name, body in chapters.items():
            if name not in leave_out:
                archive.writestr(f"OEBPS/{name}", page(body))
    return path


def page(body):
    return (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml">'
        f"<head><title/></head><body>{body}</body></html>"
    )


def text_of(document):
    return "".join(piece.text for piece in document.pieces())
