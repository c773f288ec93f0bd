"""Reading documents of each format."""

from __future__ import annotations

import pkgutil

import document_samples as samples
import pytest
from retrieval_corpus import PRIVACY, RETURNS, SHIPPING

from retrieval import parsers, parsing, parsing_child
from retrieval.blocks import Block
from retrieval.parsers import registry
from retrieval.parsers.docx import PARSER as DOCX
from retrieval.parsers.html import PARSER as HTML
from retrieval.parsers.markdown import PARSER as MARKDOWN
from retrieval.parsers.pdf import PARSER as PDF
from retrieval.parsers.protocol import Parser
from retrieval.parsers.text import PARSER as TEXT


def test_every_format_in_the_folder_is_registered() -> None:
    modules = {module.name for module in pkgutil.iter_modules(parsers.__path__)}
    registered = {type(parser).__module__.rpartition(".")[2] for parser in registry.PARSERS}
    assert modules - {"archives", "protocol", "registry"} == registered


def test_a_name_without_a_known_ending_is_refused_with_the_known_ones() -> None:
    with pytest.raises(registry.FormatUnknown, match=r"setup\.exe.*\.txt.*\.docx"):
        registry.by_filename("setup.exe")


@pytest.mark.parametrize("filename", ["a.TXT", "b.markdown", "c.HTM", "d.pdf", "e.docx"])
def test_endings_are_read_in_any_case(filename: str) -> None:
    assert registry.by_filename(filename).kind in {"text", "markdown", "html", "pdf", "docx"}


def test_markdown_keeps_headings_above_their_text() -> None:
    blocks = MARKDOWN.parse(RETURNS.encode())
    timing = next(block for block in blocks if "5 working days" in block.text)
    assert timing.headings == ("Returns", "Refunds", "Timing")


def test_markdown_rows_name_their_columns_and_front_matter_is_dropped() -> None:
    text = (
        "---\ntags: x\n---\n# T\n\n| Item | Days |\n| --- | --- |\n| Shoes | 30 |\n\n- [a](b) *c*\n"
    )
    assert MARKDOWN.parse(text.encode()) == [
        Block("Item: Shoes; Days: 30", ("T",), None, "table"),
        Block("a c", ("T",), None, "list"),
    ]


def test_a_heading_with_nothing_below_it_is_kept_as_text() -> None:
    assert MARKDOWN.parse(b"# One\n# Two\ntext\n## Three\n") == [
        Block("One", (), None, "heading"),
        Block("text", ("Two",)),
        Block("Three", ("Two",), None, "heading"),
    ]


def test_scripts_and_styles_are_not_text() -> None:
    text = " ".join(block.text for block in HTML.parse(SHIPPING.encode()))
    assert "alert" not in text
    assert "color" not in text


def test_a_web_page_keeps_headings_rows_and_lists() -> None:
    blocks = HTML.parse(SHIPPING.encode())
    assert (
        Block(
            "Service: Express courier; Days: 1; Price: 12.50 EUR",
            ("Shipping", "Carriers and prices"),
            None,
            "table",
        )
        in blocks
    )
    listed = HTML.parse(b"<p>x <b>y</b>z</p><ul><li>one<li>two</ul><pre>a\n  b</pre>")
    assert [(block.text, block.kind) for block in listed] == [
        ("x yz", "paragraph"),
        ("one", "list"),
        ("two", "list"),
        ("a\n  b", "code"),
    ]


@pytest.mark.parametrize(
    ("parser", "content"),
    [
        (MARKDOWN, b"| Item | Days |\n| --- | --- |\n\nEnd"),
        (HTML, b"<table><tr><th>Item<th>Days</table><p>End"),
    ],
)
def test_a_table_with_nothing_but_a_header_is_kept(parser: Parser, content: bytes) -> None:
    assert [block.text for block in parser.parse(content)] == ["Item | Days", "End"]


def test_columns_are_named_by_their_own_table_only() -> None:
    page = b"<table><tr><th>A<tr><td>1</table><table><tr><td>2</table>"
    assert [block.text for block in HTML.parse(page)] == ["A: 1", "2"]


def test_a_web_page_is_read_in_the_encoding_that_it_names() -> None:
    page = '<html><meta charset="iso-8859-15"><p>Preis: 5 €</p>'.encode("iso-8859-15")
    assert HTML.parse(page)[0].text == "Preis: 5 €"


def test_plain_text_is_read_as_paragraphs_in_its_encoding() -> None:
    assert len(TEXT.parse(PRIVACY.encode())) == 3
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        assert TEXT.parse("Rückgabe für 5 Stück".encode(encoding))[0].text == "Rückgabe für 5 Stück"


def test_a_pdf_keeps_its_pages_and_loses_headers_and_footers() -> None:
    pages = [
        ["Acme handbook", f"Rule {n} says {word}.", f"Page {n}"]
        for n, word in enumerate(["red", "green", "blue"], start=1)
    ]
    blocks = PDF.parse(samples.pdf(*pages))
    assert [(block.text, block.page) for block in blocks] == [
        ("Rule 1 says red.", 1),
        ("Rule 2 says green.", 2),
        ("Rule 3 says blue.", 3),
    ]


def test_a_sentence_over_the_end_of_a_pdf_page_stays_whole() -> None:
    blocks = PDF.parse(
        samples.pdf(
            ["The customer pays no postage when the par-", "cel is broken and the money"],
            ["comes back in full. Keep the receipt."],
        )
    )
    assert [block.page for block in blocks] == [1, 2]
    assert blocks[0].text.endswith("when the parcel is broken and the money comes back in full.")
    assert blocks[1].text == "Keep the receipt."


def test_a_pdf_that_everybody_may_open_is_read() -> None:
    assert PDF.parse(samples.encrypted_pdf(password=""))[0].text == "The secret word is marmalade."


def test_word_headings_lists_and_tables_are_kept() -> None:
    path = ("Warranty", "Duration")
    assert DOCX.parse(samples.docx()) == [
        Block("Appliances carry a guarantee of 24 months.", path),
        Block("Batteries: 6 months", path, None, "list"),
        Block("Part: Hinge; Months: 12", path, None, "table"),
    ]


def test_text_that_postgresql_cannot_hold_is_cleaned() -> None:
    block = HTML.parse(b"<p>a&#0;b &shy;soft&shy;ly of\xef\xac\x81ce</p>")[0]
    assert "\x00" not in block.text
    assert block.text.endswith("softly office")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text", PRIVACY.encode()),
        ("markdown", RETURNS.encode()),
        ("html", SHIPPING.encode()),
        ("pdf", samples.pdf(["One page."])),
        ("docx", samples.docx()),
    ],
)
def test_the_parsing_process_gives_the_same_blocks(kind: str, content: bytes) -> None:
    assert parsing.parse(kind, content) == parsing_child.parser_for(kind).parse(content)


@pytest.mark.parametrize(
    "hiding",
    ["hidden", 'hidden=""', 'style="display:none"', 'style="color: red; Visibility : hidden"'],
)
def test_what_a_page_hides_is_not_read(hiding: str) -> None:
    page = f"<p>Seen.</p><div {hiding}><p>Unseen.</p></div><table><tr {hiding}><td>No.</table>"
    (block,) = HTML.parse(page.encode())
    assert block.text == "Seen."
    (inside,) = MARKDOWN.parse(f"<p>Seen.</p><p {hiding}>Unseen.</p>".encode())
    assert inside.text == "Seen."


@pytest.mark.parametrize(
    "shown", ['hidden="until-found"', 'aria-hidden="true"', 'style="display: block"', 'id="hidden"']
)
def test_what_a_page_shows_is_read(shown: str) -> None:
    (block,) = HTML.parse(f"<p {shown}>Seen.</p>".encode())
    assert block.text == "Seen."
