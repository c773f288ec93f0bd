"""The only place for the pages of tools: the HTTP calls that agents may be granted."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from audit.errors import Problem
from console import fields, pages, sentences
from console.entrance import enters
from console.pages import MemberRequest
from runtime import queries, toolbox
from runtime.models import Effect, Tool
from runtime.toolbox import Definition

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
EMPTY_SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "string", "description": "The number of the order."}},
    "required": ["order_id"],
    "additionalProperties": False,
}


class ToolForm(forms.Form):
    """A tool's definition. Its stored headers are never shown, only kept or replaced."""

    slug = forms.CharField(
        label="Short name",
        max_length=63,
        help_text="Lower-case letters, digits and underscores: the model calls it by this name.",
    )
    description = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What it does, in a sentence: the model chooses by it.",
    )
    method = forms.ChoiceField(choices=[(method, method) for method in METHODS])
    url = forms.CharField(
        label="Address",
        help_text="https://orders.example/orders/{order_id}: places are filled from the arguments.",
    )
    parameters = forms.JSONField(
        label="Arguments",
        encoder=fields.Indented,
        widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false"}),
        help_text="A JSON Schema of type object. Amounts are integers, in cents.",
    )
    effect = forms.ChoiceField(
        choices=Effect.choices, help_text="Policies and reviewers rely on it. In doubt: it writes."
    )
    repeatable = forms.BooleanField(
        label="Safe to repeat",
        required=False,
        help_text="It honours the Idempotency-Key header, so a retry does nothing twice.",
    )
    timeout_seconds = forms.IntegerField(
        label="Timeout in seconds", min_value=1, max_value=toolbox.LONGEST_TIMEOUT, initial=10
    )
    headers = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        help_text="One a line, as Name: value. They are encrypted and never shown again.",
    )
    keeps_headers = forms.BooleanField(
        label="Keep the stored headers", required=False, help_text="Only while the address stays."
    )

    def __init__(self, *args: Any, tool: Tool | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tool = tool
        if tool is not None:
            self.fields["slug"].widget.attrs["readonly"] = True
        if tool is None or not tool.headers:
            del self.fields["keeps_headers"]

    def clean_headers(self) -> dict[str, str]:
        """The headers by their names."""
        found = {}
        for line in self.cleaned_data["headers"].splitlines():
            name, colon, value = line.partition(":")
            if line.strip() and not (colon and name.strip() and value.strip()):
                raise forms.ValidationError("Write each header as Name: value, one a line.")
            if line.strip():
                found[name.strip()] = value.strip()
        return found

    def clean(self) -> dict[str, Any]:
        """Keep the stored headers only for the address that they were given for."""
        values = super().clean() or {}
        if not values.pop("keeps_headers", False) or self.tool is None:
            return values
        if values.get("url") != self.tool.url:
            self.add_error(
                "headers", "Give the headers again: the stored ones belong to the old address."
            )
        elif not values.get("headers"):
            values["headers"] = toolbox.spec_of(self.tool).headers
        return values


@enters("tools")
def index(request: MemberRequest) -> HttpResponse:
    """Every tool with its effect."""
    rows = Tool.objects.defer("headers").order_by("slug")
    text = pages.asked(request, "q")
    if text:
        rows = rows.filter(slug__icontains=text) | rows.filter(description__icontains=text)
    return pages.show(request, "tools/list", {"page": pages.cut(rows, request), "q": text})


@enters("tools")
def detail(request: MemberRequest, tool: str) -> HttpResponse:
    """One tool, without its secrets."""
    row = queries.access_tool(tool, principal=request.principal)
    context = {"tool": row, "effect": sentences.EFFECTS[row.effect], "headers": bool(row.headers)}
    return pages.show(request, "tools/detail", context)


@enters("tools", to_change=True)
def add(request: MemberRequest) -> HttpResponse:
    """The form of a new tool, and adding it."""
    if request.method != "POST":
        form = ToolForm(initial={"parameters": EMPTY_SCHEMA, "method": "POST", "effect": "write"})
        return pages.show(request, "tools/form", {"form": form})
    return _save(request, ToolForm(request.POST))


@enters("tools", to_change=True)
def change(request: MemberRequest, tool: str) -> HttpResponse:
    """The form of a tool as it is, and changing it."""
    row = queries.access_tool(tool, principal=request.principal)
    if request.method != "POST":
        names = [name for name in ToolForm.base_fields if hasattr(row, name) and name != "headers"]
        initial = {name: getattr(row, name) for name in names}
        form = ToolForm(initial={**initial, "keeps_headers": True}, tool=row)
        return pages.show(request, "tools/form", {"form": form, "tool": row})
    return _save(request, ToolForm(request.POST, tool=row))


def _save(request: MemberRequest, form: ToolForm) -> HttpResponse:
    tool = form.tool
    if form.is_valid():
        definition, now = Definition(**form.cleaned_data), timezone.now()
        try:
            saved = (
                toolbox.change(tool, definition, by=request.principal, now=now)
                if tool
                else toolbox.add(definition, by=request.principal, now=now)
            )
        except Problem as problem:
            form.add_error(None, str(problem))
        else:
            messages.success(
                request, f"The tool {saved.slug} is saved. Grant it to an agent to use it."
            )
            return redirect("console:tool", saved.slug)
    return pages.show(request, "tools/form", {"form": form, "tool": tool}, status=422)


@enters("tools", to_change=True)
def remove(request: MemberRequest, tool: str) -> HttpResponse:
    """Ask once, then end the tool."""
    row = queries.access_tool(tool, principal=request.principal)
    if request.method != "POST":
        return pages.show(request, "tools/remove", {"tool": row})
    try:
        toolbox.remove(row, by=request.principal, now=timezone.now())
    except Problem as problem:
        context = {"tool": row, "problem": problem}
        return pages.show(request, "tools/remove", context, status=problem.status)
    messages.success(request, f"The tool {row.slug} is gone. Intents that name it are denied.")
    return redirect("console:tools")
