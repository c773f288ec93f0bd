"""The only place that maps the API's addresses to views."""

from __future__ import annotations

from django.urls import path, register_converter
from django.urls.converters import StringConverter
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from api import (
    agents,
    approvals,
    collections,
    documents,
    endpoints,
    erasures,
    exports,
    following,
    grants,
    halts,
    holds,
    keys,
    ledger,
    members,
    policies,
    providers,
    routes,
    runs,
    signing_in,
    streams,
    tools,
)


class SlugConverter(StringConverter):
    """A slug of any of our nouns. Whatever can't be one is not an address."""

    regex = "[a-z][a-z0-9._-]{0,62}"


class KeyConverter(StringConverter):
    """A key's public id."""

    regex = "[0-9a-f]{16}"


class TileConverter(StringConverter):
    """A path below a log's prefix, as C2SP tlog-tiles names its tiles."""

    regex = "tile/[0-9a-z./]{1,60}"


register_converter(TileConverter, "tile")
register_converter(SlugConverter, "name")
register_converter(KeyConverter, "key")

app_name = "api"

urlpatterns = [
    path(
        "schema", SpectacularAPIView.as_view(renderer_classes=[OpenApiJsonRenderer2]), name="schema"
    ),
    path(
        "docs",
        SpectacularSwaggerSplitView.as_view(url_name="api:schema", template_name="api/docs.html"),
        name="docs",
    ),
    path("sign-in", signing_in.SignInView.as_view(), name="sign-in"),
    path("me", signing_in.Me.as_view(), name="me"),
    path("members", members.Members.as_view(), name="members"),
    path("members/<uuid:member>", members.Member.as_view(), name="member"),
    path("keys", keys.Keys.as_view(), name="keys"),
    path("keys/<key:key>", keys.KeyView.as_view(), name="key"),
    path("agents", agents.Agents.as_view(), name="agents"),
    path("agents/<name:slug>", agents.AgentView.as_view(), name="agent"),
    path("agents/<name:slug>/versions", agents.Versions.as_view(), name="versions"),
    path("agents/<name:slug>/versions/<int:number>", agents.Version.as_view(), name="version"),
    path("agents/<name:slug>/grants", grants.Grants.as_view(), name="grants"),
    path(
        "agents/<name:slug>/grants/<name:kind>/<name:resource>",
        grants.GrantView.as_view(),
        name="grant",
    ),
    path("agents/<name:slug>/runs", runs.start, name="agent-runs"),
    path("tools", tools.Tools.as_view(), name="tools"),
    path("tools/<name:slug>", tools.ToolView.as_view(), name="tool"),
    path("policies", policies.Policies.as_view(), name="policies"),
    path("policies/active", policies.ActivePolicies.as_view(), name="active-policies"),
    path("policies/check", policies.PolicyCheck.as_view(), name="policy-check"),
    path("policies/<int:version>", policies.PolicyVersion.as_view(), name="policy-version"),
    path("runs", runs.Runs.as_view(), name="runs"),
    path("runs/<uuid:run>", runs.RunView.as_view(), name="run"),
    path("runs/<uuid:run>/steps", runs.RunSteps.as_view(), name="run-steps"),
    path("runs/<uuid:run>/events", runs.RunEvents.as_view(), name="run-events"),
    path("runs/<uuid:run>/cancel", runs.RunCancellation.as_view(), name="run-cancel"),
    path("approvals", approvals.Approvals.as_view(), name="approvals"),
    path("approvals/<uuid:approval>", approvals.ApprovalView.as_view(), name="approval"),
    path("approvals/<uuid:approval>/votes", approvals.Votes.as_view(), name="votes"),
    path("collections", collections.Collections.as_view(), name="collections"),
    path("collections/<name:slug>", collections.CollectionView.as_view(), name="collection"),
    path("collections/<name:slug>/search", collections.CollectionSearch.as_view(), name="search"),
    path(
        "collections/<name:slug>/documents",
        documents.CollectionDocuments.as_view(),
        name="collection-documents",
    ),
    path("documents", documents.Documents.as_view(), name="documents"),
    path("documents/<uuid:document>", documents.DocumentView.as_view(), name="document"),
    path("ledger/entries", ledger.Entries.as_view(), name="entries"),
    path("ledger/entries/<uuid:entry>", ledger.EntryView.as_view(), name="entry"),
    path("ledger/entries/<uuid:entry>/proof", ledger.EntryProof.as_view(), name="proof"),
    path("ledger/halts", halts.Halts.as_view(), name="halts"),
    path(
        "ledger/halts/<uuid:halt>/approvals",
        halts.HaltApprovals.as_view(),
        name="halt-approvals",
    ),
    path("ledger/checkpoint", ledger.CheckpointView.as_view(), name="checkpoint"),
    path("ledger/consistency", ledger.LedgerConsistency.as_view(), name="consistency"),
    path("ledger/log/checkpoint", following.LogCheckpoint.as_view(), name="log-checkpoint"),
    path("ledger/log/<tile:path>", following.LogTile.as_view(), name="log-tile"),
    path("ledger/export", exports.LedgerBundle.as_view(), name="export"),
    path("ledger/exports", exports.LedgerExports.as_view(), name="ledger-exports"),
    path("ledger/exports/<uuid:export>", exports.LedgerExportView.as_view(), name="ledger-export"),
    path(
        "ledger/exports/<uuid:export>/bundle",
        exports.LedgerExportBundle.as_view(),
        name="ledger-export-bundle",
    ),
    path("ledger/streams", streams.Streams.as_view(), name="streams"),
    path("ledger/streams/<name:slug>", streams.StreamView.as_view(), name="stream"),
    path("ledger/streams/<name:slug>/secret", streams.StreamSecret.as_view(), name="stream-secret"),
    path("ledger/streams/<name:slug>/test", streams.StreamTest.as_view(), name="stream-test"),
    path("erasures", erasures.Erasures.as_view(), name="erasures"),
    path("erasures/<uuid:erasure>", erasures.ErasureView.as_view(), name="erasure"),
    path(
        "erasures/<uuid:erasure>/approval",
        erasures.ErasureApproval.as_view(),
        name="erasure-approval",
    ),
    path(
        "erasures/<uuid:erasure>/rejection",
        erasures.ErasureRejection.as_view(),
        name="erasure-rejection",
    ),
    path("holds", holds.Holds.as_view(), name="holds"),
    path("holds/<uuid:hold>", holds.HoldView.as_view(), name="hold"),
    path("holds/<uuid:hold>/release", holds.HoldRelease.as_view(), name="hold-release"),
    path("retention", holds.Retention.as_view(), name="retention"),
    path("providers", providers.Providers.as_view(), name="providers"),
    path("providers/<name:slug>", providers.ProviderView.as_view(), name="provider"),
    path("endpoints", endpoints.Endpoints.as_view(), name="endpoints"),
    path("endpoints/<name:slug>", endpoints.EndpointView.as_view(), name="endpoint"),
    path("routes", routes.Routes.as_view(), name="routes"),
    path("routes/<name:slug>", routes.RouteView.as_view(), name="route"),
]
