"""The only place for the pages of documents: collections, uploads, passages and the search box."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST

from audit.errors import Problem
from console import fields, names, pages, rooms
from console.entrance import enters
from console.pages import MemberRequest
from gateway.models import Purpose, Route
from retrieval import collections, documents, queries
from retrieval.models import Collection, Passage
from retrieval.parsers.registry import PARSERS
from runtime import ingesting, searching

SHOWN_HITS = 10


class NewCollection(forms.Form):
    """A collection to make."""

    slug = forms.CharField(
        label="Short name",
        max_length=60,
        help_text="Lower-case letters, digits, - and _. It can't be changed later.",
    )
    name = forms.CharField(label="Name", max_length=200)
    description = forms.CharField(
        required=False, help_text="What it answers: an agent's model chooses by it."
    )
    classification = forms.CharField(
        required=False, max_length=60, help_text="A word that policies can use, like internal."
    )
    embedding_route = forms.ChoiceField(label="Embedding route")
    language = forms.ChoiceField(initial="english")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        routes = Route.objects.filter(purpose=Purpose.EMBEDDINGS).values_list("slug", flat=True)
        fields.offer(self, "embedding_route", routes)
        fields.offer(self, "language", collections.languages())


@enters("documents")
def index(request: MemberRequest) -> HttpResponse:
    """The collections, and how many documents each holds."""
    return pages.show(request, "documents/list", _index(request, NewCollection()))


def _index(request: MemberRequest, form: NewCollection) -> dict[str, Any]:
    page = pages.cut(queries.collections(), request)
    return {"page": page, "form": form, "may_change": _may_change(request)}


def _may_change(request: MemberRequest) -> bool:
    return rooms.named("documents").is_kept_by(request.principal)


@enters("documents", to_change=True)
@require_POST
def create(request: MemberRequest) -> HttpResponse:
    """A new, empty collection."""
    form = NewCollection(request.POST)
    if form.is_valid():
        try:
            made = collections.create(**form.cleaned_data, by=request.principal, now=timezone.now())
        except Problem as problem:
            form.add_error(None, str(problem))
        else:
            messages.success(request, f"{made.name} was created. Upload its first document.")
            return redirect("console:collection", made.slug)
    return pages.show(request, "documents/list", _index(request, form), status=422)


@enters("documents")
def collection(request: MemberRequest, collection: str) -> HttpResponse:
    """One collection: its documents with their states, live; a search box; an upload."""
    row = queries.access_collection(collection, principal=request.principal)
    context = _context(request, row)
    if "HX-Request" not in request.headers:
        return pages.show(request, "documents/collection", context)
    if pages.asked(request, "seen") == context["stamp"]:
        return pages.unchanged()
    return pages.part(request, "documents/_rows", context)


def _context(request: MemberRequest, row: Collection) -> dict[str, Any]:
    rows = queries.documents().filter(collection=row)
    page = pages.cut(rows, request)
    return {
        "collection": row,
        "page": page,
        "stamp": "-".join(f"{each.pk.hex[-6:]}{each.state}" for each in page.rows[:20]),
        "is_busy": any(each.state == "queued" for each in page.rows),
        "accepted": ",".join(suffix for parser in PARSERS for suffix in parser.suffixes),
        "may_change": _may_change(request),
        "names": names.known(),
    }


@enters("documents", to_change=True)
@require_POST
def upload(request: MemberRequest, collection: str) -> HttpResponse:
    """Take documents in; each that is refused says why, the others are queued."""
    row = queries.access_collection(collection, principal=request.principal)
    problems = []
    for file in request.FILES.getlist("files"):
        try:
            _take(request, row, file)
        except Problem as problem:
            problems.append(f"{file.name}: {problem}")
    if not request.FILES:
        problems.append("Choose a file first.")
    if not problems:
        messages.success(request, "Uploaded. A document can be searched once it is ready.")
        return redirect("console:collection", row.slug)
    context = {**_context(request, row), "problems": problems}
    return pages.show(request, "documents/collection", context, status=422)


def _take(request: MemberRequest, row: Collection, file: UploadedFile[bytes]) -> None:
    limit = settings.MAX_DOCUMENT_BYTES
    if (file.size or 0) > limit:  # before its bytes are read into memory
        raise documents.DocumentTooLarge(size=file.size, limit=limit)
    ingesting.upload(row, file.name or "", file.read(), by=request.principal, now=timezone.now())


@enters("documents")
def search(request: MemberRequest, collection: str) -> HttpResponse:
    """What an agent would find for a query: governed and recorded like any other search."""
    row = queries.access_collection(collection, principal=request.principal)
    context = {**_context(request, row), "query": request.POST.get("query", "").replace("\0", "")}
    if request.method != "POST":
        return redirect("console:collection", row.slug)
    try:
        context["hits"] = searching.find(
            row, context["query"], by=request.principal, now=timezone.now(), limit=SHOWN_HITS
        )
    except Problem as problem:
        context["search_problem"] = problem
        return pages.show(request, "documents/collection", context, status=problem.status)
    return pages.show(request, "documents/collection", context)


@enters("documents")
def document(request: MemberRequest, document: UUID) -> HttpResponse:
    """One document and its passages, in reading order."""
    row = queries.access_document(document, principal=request.principal)
    context = {
        "document": row,
        "page": pages.cut(queries.passages_of(row), request),
        "may_change": _may_change(request),
        "names": names.known(),
    }
    return pages.show(request, "documents/document", context)


@enters("documents")
def passage(request: MemberRequest, passage: UUID) -> HttpResponse:
    """Where a citation leads: the page of its document that has the passage."""
    row: Passage = queries.access_passage(passage, principal=request.principal)
    before = queries.passages_of(row.document).filter(ordinal__lt=row.ordinal).count()
    address = reverse("console:document", args=[row.document.pk])
    number = before // pages.PAGE_SIZE + 1
    return redirect(f"{address}?page={number}#passage-{row.pk}")


@enters("documents")
def download(request: MemberRequest, document: UUID) -> HttpResponse:
    """The file as it was uploaded, never shown by the browser itself."""
    row = queries.access_document(document, principal=request.principal)
    answer = HttpResponse(queries.content_of(row), content_type="application/octet-stream")
    answer.headers["Content-Disposition"] = content_disposition_header(True, row.filename)  # noqa: FBT003
    return answer


@enters("documents", to_change=True)
def remove(request: MemberRequest, document: UUID) -> HttpResponse:
    """Ask once, then remove the document: from then on no search finds it."""
    row = queries.access_document(document, principal=request.principal)
    if request.method != "POST":
        return pages.show(request, "documents/remove", {"document": row})
    documents.remove(row, by=request.principal)
    messages.success(request, f"{row.title} was removed. No search finds it any more.")
    return redirect("console:collection", row.collection.slug)
