"""PDF, HTML, EPUB and DOCX: their text, their pages, and what is wrong with broken ones."""

import io
import logging
import sys
import zipfile

import docx
import pypdf
import pytest
from tests.documents.helpers import page, text_of, write_epub, write_pdf

from memagent.documents import open_document
from memagent.documents.docx import open_docx
from memagent.errors import DocumentError, SetupError


def locked(path, user_password, algorithm):
    writer = pypdf.PdfWriter(clone_from=path)
    writer.encrypt(user_password, "owner", algorithm=algorithm)
    writer.write(path)
    return path


def test_pdf_has_a_block_a_page(tmp_path):
    document = open_document(write_pdf(tmp_path / "a.pdf", ["The first.", "", "The third."]))
    (source,) = document.sources
    assert [(block.page, block.text.strip()) for block in source.blocks()] == [
        (1, "The first."),
        (3, "The third."),
    ]
    assert document.notes == ("1 of 3 pages of a.pdf have no text (the first is page 2)",)
    assert document.characters == len(text_of(document))


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_pdf_that_opens_without_a_password_is_read(tmp_path, algorithm):
    path = locked(write_pdf(tmp_path / "a.pdf", ["In the open."]), "", algorithm)
    assert "In the open." in text_of(open_document(path))


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_pdf_with_a_password_is_refused(tmp_path, algorithm):
    path = locked(write_pdf(tmp_path / "a.pdf", ["Secret."]), "user", algorithm)
    with pytest.raises(DocumentError, match=r"a\.pdf: password-protected"):
        open_document(path)


def test_pdf_without_text_needs_ocr(tmp_path):
    with pytest.raises(DocumentError, match="OCR"):
        open_document(write_pdf(tmp_path / "a.pdf", ["", ""]))


@pytest.mark.parametrize("keep", [9, 200, 600])
def test_corrupt_pdf_is_refused_and_pypdf_stays_silent(tmp_path, keep, caplog, capfd):
    path = write_pdf(tmp_path / "a.pdf", ["Some text."])
    path.write_bytes(path.read_bytes()[:keep])
    with caplog.at_level(logging.DEBUG), pytest.raises(DocumentError, match=r"a\.pdf: a corrupt PDF"):
        open_document(path)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_pdf_is_known_by_its_content(tmp_path):
    write_pdf(tmp_path / "a.pdf", ["Some text."]).rename(tmp_path / "a.txt")
    assert "Some text." in text_of(open_document(tmp_path / "a.txt"))


@pytest.mark.parametrize("suffix", ["pdf", "epub", "docx"])
def test_a_suffix_that_promises_too_much(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text("only text")
    with pytest.raises(DocumentError, match="corrupt"):
        open_document(path)


HTML = """<!doctype html><html><head><title>The title</title><style>p {color: red}</style></head>
<body><h1>Heading</h1><script>var hidden = 1;</script><p>One &amp; two</p><!-- comment -->
<ul><li>first<li>second</ul><table><tr><th>name</th><td>value</td></tr></table>
<pre>kept
  as is</pre><div style="display: none">unseen</div>tail</body></html>"""


def test_html_keeps_text_and_drops_scripts(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(HTML)
    text = text_of(open_document(path))
    words = ["The title", "Heading", "One & two", "first", "second", "name", "value", "kept\n  as is", "tail"]
    assert [word for word in words if word not in text] == []
    assert not any(word in text for word in ("hidden", "color", "comment", "unseen"))


@pytest.mark.parametrize("name", ["page", "page.txt"])
def test_html_without_its_suffix_is_known_by_its_start(tmp_path, name):
    (tmp_path / name).write_text(HTML)
    assert "var hidden" not in text_of(open_document(tmp_path / name))


def test_source_code_that_looks_like_html_stays_source_code(tmp_path):
    (tmp_path / "page.j2").write_text(HTML)
    assert "var hidden" in text_of(open_document(tmp_path / "page.j2"))


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ('<meta charset="windows-1251">', "cp1251"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "koi8-r"),
        ('<?xml version="1.0" encoding="utf-16"?>', "utf-16"),
        ("", "utf-8"),
        ("<meta charset=utf-16>", "utf-8"),
        ("<meta charset=no-such-thing>", "utf-8"),
    ],
)
def test_html_is_decoded_as_it_declares(tmp_path, declaration, encoding):
    markup = f"{declaration}<html><body><p>Корабль вышел из гавани</p></body></html>"
    (tmp_path / "a.html").write_bytes(markup.encode(encoding))
    assert "Корабль вышел из гавани" in text_of(open_document(tmp_path / "a.html"))


def test_html_nested_deeply_or_with_long_text_loses_nothing(tmp_path):
    path = tmp_path / "a.html"
    path.write_text("<div>" * 3000 + "deep " + "</div>" * 3000 + "after")
    assert text_of(open_document(path)).split() == ["deep", "after"]
    path.write_text("<p>" + "words" * 2_200_000 + " " + "end</p>")
    assert len(text_of(open_document(path)).split()) == 2


def test_html_without_text_is_refused(tmp_path):
    (tmp_path / "a.html").write_text("<html><body><script>x</script></body></html>")
    with pytest.raises(DocumentError, match=r"a\.html: empty"):
        open_document(tmp_path / "a.html")


def test_epub_follows_its_spine(tmp_path):
    chapters = {
        "b c.xhtml": "<h1>Two</h1><a id='x'/><p>second&#160;text</p>",
        "a.xhtml": "<p>first <script/>text</p>",
    }
    path = write_epub(tmp_path / "a.epub", chapters, spine=["a.xhtml", "b c.xhtml"])
    text = text_of(open_document(path))
    assert text.split() == ["first", "text", "Two", "second", "text"]


def test_epub_with_a_missing_chapter_says_so(tmp_path):
    chapters = {"a.xhtml": "<p>first</p>", "b.xhtml": "<p>second</p>"}
    path = write_epub(tmp_path / "a.epub", chapters, leave_out=["b.xhtml"])
    assert open_document(path).notes == ("1 of 2 chapters are missing from a.epub",)


def encryption(name):
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        '<EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#"><CipherData>'
        f'<CipherReference URI="{name}"/></CipherData></EncryptedData></encryption>'
    )


def test_epub_with_locked_chapters_is_refused_and_with_locked_fonts_read(tmp_path):
    chapters = {"a.xhtml": "<p>first</p>"}
    fonts = write_epub(tmp_path / "f.epub", chapters, encryption=encryption("OEBPS/font.otf"))
    assert "first" in text_of(open_document(fonts))
    path = write_epub(tmp_path / "a.epub", chapters, encryption=encryption("OEBPS/a.xhtml"))
    with pytest.raises(DocumentError, match="DRM"):
        open_document(path)


def test_docx_keeps_paragraphs_and_tables_in_order(tmp_path):
    document = docx.Document()
    document.add_heading("Heading")
    document.add_paragraph("Before\tthe table.")
    table = document.add_table(rows=2, cols=2)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"cell {number}"
    inner = table.cell(1, 1).add_table(rows=1, cols=1)
    inner.cell(0, 0).text = "inner"
    document.add_paragraph("After it.")
    document.save(str(tmp_path / "a.docx"))
    assert text_of(open_document(tmp_path / "a.docx")) == (
        "Heading\n\nBefore\tthe table.\n\ncell 0\tcell 1\ncell 2\tcell 3 inner\n\nAfter it.\n\n"
    )


def test_docx_keeps_content_controls_and_drops_deleted_text(tmp_path):
    from docx.oxml import parse_xml

    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document = docx.Document()
    body = document.element.body
    body.insert(
        0,
        parse_xml(f"<w:sdt {space}><w:sdtContent><w:p><w:r><w:t>held</w:t></w:r></w:p></w:sdtContent></w:sdt>"),
    )
    body.insert(
        1,
        parse_xml(f"<w:p {space}><w:del><w:r><w:t>gone</w:t></w:r></w:del><w:r><w:t>kept</w:t></w:r></w:p>"),
    )
    document.save(str(tmp_path / "a.docx"))
    assert text_of(open_document(tmp_path / "a.docx")).split() == ["held", "kept"]


@pytest.mark.parametrize("suffix", ["epub", "docx"])
def test_corrupt_containers_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "epub":
        write_epub(path, {"a.xhtml": "<p>text</p>" * 100})
    else:
        docx.Document().save(str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DocumentError, match="corrupt"):
        open_document(path)


def test_an_epub_without_a_package_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.epub", "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
    with pytest.raises(DocumentError, match=r"corrupt EPUB file \(META-INF/container.xml is missing"):
        open_document(tmp_path / "a.epub")


def test_an_empty_docx_and_other_archives_are_refused(tmp_path):
    docx.Document().save(str(tmp_path / "a.docx"))
    with pytest.raises(DocumentError, match=r"a\.docx: empty"):
        open_document(tmp_path / "a.docx")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(DocumentError, match="unpack it first"):
        open_document(tmp_path / "a.zip")
    (tmp_path / "a.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(DocumentError, match="old Office format"):
        open_document(tmp_path / "a.doc")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("memagent.documents.zipped.LARGEST", 1000)
    with pytest.raises(DocumentError, match="when unpacked"):
        open_document(write_epub(tmp_path / "a.epub", {"a.xhtml": "<p>text</p>" * 1000}))


@pytest.mark.parametrize(
    ("suffix", "library"), [("pdf", "pypdf"), ("html", "inscriptis.html_engine"), ("docx", "docx")]
)
def test_a_missing_extra_names_the_command_that_installs_it(tmp_path, monkeypatch, suffix, library):
    path = tmp_path / f"a.{suffix}"
    if suffix == "pdf":
        write_pdf(path, ["text"])
    elif suffix == "html":
        path.write_text(page("text"))
    else:
        docx.Document().save(str(path))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SetupError, match=r"pip install 'memagent\[documents\]'"):
        open_document(path)


def test_footnotes_of_docx_are_read(tmp_path):
    document = docx.Document()
    document.add_paragraph("body")
    document.save(buffer := io.BytesIO())
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    paragraph = "<w:p><w:r><w:t>the note</w:t></w:r></w:p>"
    note = f"<w:footnotes {space}><w:footnote>{paragraph}</w:footnote></w:footnotes>"
    override = (
        '<Override PartName="/word/footnotes.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"/></Types>'
    )
    relation = f'<Relationship Id="rId99" Type="{kind}" Target="footnotes.xml"/></Relationships>'
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(tmp_path / "a.docx", "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry == "[Content_Types].xml":
                data = data.replace(b"</Types>", override.encode())
            if entry == "word/_rels/document.xml.rels":
                data = data.replace(b"</Relationships>", relation.encode())
            new.writestr(entry, data)
        new.writestr("word/footnotes.xml", note)
    assert [block.text for block in open_docx(tmp_path / "a.docx", "a").blocks()] == [
        "body\n\n",
        "the note\n\n",
    ]
