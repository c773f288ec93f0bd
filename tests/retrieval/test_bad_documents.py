"""Documents that cannot be read: each is refused with its own code, quickly."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import zipfile
from collections.abc import Callable
from functools import partial

import document_samples as samples
import pytest

from audit.errors import Problem
from retrieval import parsing, parsing_child
from retrieval.parsers import archives, markdown, pdf
from retrieval.parsers.protocol import (
    DocumentCorrupt,
    DocumentEmpty,
    DocumentEncrypted,
    DocumentExpandsTooFar,
    DocumentNestedTooDeep,
    DocumentTooCostly,
    DocumentTooLong,
    NotWhatItSays,
)
from retrieval.parsing_child import parser_for

PDF = samples.pdf(["A page."])


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("pdf", b"hello"),
        ("pdf", samples.docx()),
        ("docx", PDF),
        ("docx", samples.zipped(readme=b"an archive, but no document")),
        ("docx", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600)),
        ("text", PDF),
        ("text", b"\x89PNG\r\n\x1a\n\x00\x00"),
        ("text", b"<!DOCTYPE html><p>a page</p>"),
        ("markdown", samples.docx()),
        ("html", b"no tag at all, 3 < 4"),
        ("html", b"<p>\x00\x01</p>"),
    ],
)
def test_content_that_is_not_what_the_name_says_is_refused_at_a_glance(
    kind: str, content: bytes
) -> None:
    with pytest.raises(NotWhatItSays):
        parser_for(kind).check(content)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text", b" \n\t "),
        ("markdown", b"---\ntags: none\n---\n"),
        ("html", b"<html><script>let x</script></html>"),
        ("pdf", samples.pdf([])),
        (
            "docx",
            samples.docx_with(
                word__document=b"""<w:document
        xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body/>
        </w:document>"""
            ),
        ),
    ],
)
def test_a_document_without_text_is_empty(kind: str, content: bytes) -> None:
    with pytest.raises(DocumentEmpty):
        parsing.parse(kind, content)


def test_a_pdf_with_a_password_is_encrypted() -> None:
    with pytest.raises(DocumentEncrypted):
        parsing.parse("pdf", samples.encrypted_pdf(password="marmalade"))


def test_a_word_document_with_a_password_is_encrypted() -> None:
    with pytest.raises(DocumentEncrypted):
        parser_for("docx").check(samples.encrypted_docx())


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("pdf", b"%PDF-1.7\nnothing else"),
        ("pdf", PDF[: len(PDF) // 3]),
        ("docx", samples.docx()[:-400]),
        ("docx", samples.docx().replace(b"word/document.xml", b"word/dokument.xml")),
        ("docx", samples.docx_with(word__document=b"<w:document><unclosed>")),
    ],
)
def test_a_damaged_document_is_corrupt(kind: str, content: bytes) -> None:
    with pytest.raises(DocumentCorrupt):
        parsing.parse(kind, content)


@pytest.mark.parametrize("place", range(1, 7))
def test_a_changed_byte_breaks_nothing_but_the_document(place: int) -> None:
    content = bytearray(samples.docx())
    content[place * len(content) // 7] ^= 0xFF
    with contextlib.suppress(DocumentCorrupt, DocumentExpandsTooFar):
        assert parsing.parse("docx", bytes(content))


@pytest.mark.parametrize(
    "make",
    [
        samples.bomb,
        partial(samples.bomb, 50 * 1024 * 1024),
        samples.many_named_docx,
        lambda: samples.docx_with(word__sheet=samples.zipped(a=samples.zipped(b=b"x"))),
    ],
    ids=["too much", "too dense", "too many", "too deep"],
)
def test_an_archive_that_unpacks_too_far_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(DocumentExpandsTooFar):
        parsing.parse("docx", make())


def test_an_archive_that_understates_its_size_gives_nothing_more() -> None:
    with pytest.raises((DocumentExpandsTooFar, DocumentCorrupt)):
        parsing.parse("docx", samples.understating_docx())


def test_members_that_overlap_are_refused() -> None:
    file = io.BytesIO(samples.docx())
    with zipfile.ZipFile(file, "a") as archive:
        twin = archive.infolist()[0]
        twin.filename = "word/twin.xml"
        archive.filelist.append(twin)
        archive._didModify = True
    with pytest.raises((DocumentExpandsTooFar, DocumentCorrupt)):
        archives.measure(file.getvalue())


def test_a_workbook_inside_a_document_is_no_bomb() -> None:
    content = samples.docx_with(word__embedded=samples.zipped(sheet=b"1,2,3"))
    assert parsing.parse("docx", content)


def test_an_entity_bomb_is_refused_before_it_is_expanded() -> None:
    with pytest.raises(DocumentCorrupt):
        parsing.parse("docx", samples.docx_with(word__document=samples.ENTITY_BOMB))


def test_a_pdf_whose_stream_unpacks_too_far_is_refused() -> None:
    with pytest.raises(DocumentExpandsTooFar):
        parsing.parse("pdf", samples.pdf_bomb())


def test_text_nested_too_deep_to_be_read_is_refused_and_not_called_empty() -> None:
    with pytest.raises(DocumentNestedTooDeep):
        parsing.parse("markdown", b">" * 50_000 + b" hi")
    (block,) = parser_for("markdown").parse(b">" * (markdown.DEEPEST - 1) + b" hi")
    assert block.text == "hi"


def test_a_pdf_with_endless_pages_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_PAGES", 3)
    with pytest.raises(DocumentTooLong, match="3 pages"):
        parser_for("pdf").parse(samples.pdf(*(["A page."] for _ in range(4))))


def test_more_text_than_a_document_may_hold_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing_child, "MAX_CHARACTERS", 10)
    with pytest.raises(DocumentTooLong, match="10 characters"):
        parsing_child.parse("text", b"eleven chars")


def test_no_document_takes_longer_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def run(*_: object, **options: object) -> None:
        seen.update(options)
        raise subprocess.TimeoutExpired("parser", 1)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DocumentTooCostly) as refused:
        parsing.parse("text", b"text")
    assert seen["timeout"] == refused.value.details["seconds"] == parsing_child.CPU_SECONDS


def test_a_document_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "WALL_SECONDS", 1)
    with pytest.raises(DocumentTooCostly):
        parsing.parse("html", b"<div>" * 100_000 + b"deep")


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (-signal.SIGXCPU, DocumentTooCostly),
        (-signal.SIGKILL, DocumentTooCostly),
        (parsing_child.OUT_OF_MEMORY, DocumentTooCostly),
        (-signal.SIGSEGV, DocumentCorrupt),
        (1, DocumentCorrupt),
    ],
)
def test_however_the_parsing_process_ends_the_caller_gets_a_problem(
    monkeypatch: pytest.MonkeyPatch, status: int, problem: type[Problem]
) -> None:
    ended = subprocess.CompletedProcess([], status, b"", b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(problem):
        parsing.parse("text", b"text")


def test_the_parsing_process_gets_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def run(*_: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        seen.update(options)
        return subprocess.CompletedProcess([], 1, b"", b"")

    monkeypatch.setenv("SECRET_KEY", "not for parsers")
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DocumentCorrupt):
        parsing.parse("text", b"text")
    assert seen["env"] == {"PYTHONDONTWRITEBYTECODE": "1"}
