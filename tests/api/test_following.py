"""A tlog client follows a tenant's ledger over REST, by C2SP's specifications alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from callers import Caller, Estate
from cast import Cast
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from judges import golang
from judges.golang import Judge
from sealing import KEY, seal

from audit import ledger, queries
from runtime.events import LedgerViewed
from tenants import isolation

LOG = "ledger/log"


class Tree(NamedTuple):
    size: int
    root: bytes


class Follower:
    """A client that knows C2SP tlog-tiles, tlog-checkpoint and RFC 6962, and nothing of ours."""

    def __init__(self, caller: Caller, key: Ed25519PublicKey) -> None:
        self._caller = caller
        self._key = key
        self.kept: dict[str, bytes] = {}
        self.tree = Tree(0, hashlib.sha256().digest())

    def follow(self) -> list[bytes]:
        """The entries since the last time, once all that the log said was verified."""
        new = self._checkpoint()
        old = self.tree
        assert new.size >= old.size
        assert self._root(new.size, 0, new.size) == new.root
        if old.size:
            assert self._root(new.size, 0, old.size) == old.root
        entries = list(self._entries(old.size, new.size))
        for index, entry in enumerate(entries, start=old.size):
            assert self._node(new.size, 0, index) == hashlib.sha256(b"\0" + entry).digest()
        self.tree = new
        return entries

    def fetch(self, path: str) -> bytes:
        if path not in self.kept:
            answer = self._caller.get(f"{LOG}/{path}")
            assert answer.status_code == 200, f"{path}: {answer.content.decode()}"
            self.kept[path] = answer.content
        return self.kept[path]

    def _checkpoint(self) -> Tree:
        note = self._caller.get(f"{LOG}/checkpoint").content.decode()
        text, _, signatures = note.partition("\n\n")
        signature = base64.b64decode(signatures.splitlines()[0].split(" ")[2])
        self._key.verify(signature[4:], f"{text}\n".encode())
        _, size, root, *_ = text.split("\n")
        return Tree(int(size), base64.b64decode(root))

    def _entries(self, start: int, end: int) -> Iterator[bytes]:
        for number in range(start // 256, -(-end // 256)):
            bundle = self.fetch(_path("entries", number, min(256, end - number * 256)))
            at, found = 0, []
            while at < len(bundle):
                length = int.from_bytes(bundle[at : at + 2])
                found.append(bundle[at + 2 : at + 2 + length])
                at += 2 + length
            assert len(found) == min(256, end - number * 256)
            yield from found[max(start - number * 256, 0) :]

    def _node(self, size: int, level: int, index: int) -> bytes:
        hashes = size >> 8 * level
        tile = self.fetch(_path(str(level), index // 256, min(256, hashes - index // 256 * 256)))
        return tile[index % 256 * 32 :][:32]

    def _root(self, size: int, start: int, end: int) -> bytes:
        @cache
        def root(start: int, end: int) -> bytes:
            length = end - start
            for level in (2, 1, 0):
                if length == 256**level and start % length == 0:
                    return self._node(size, level, start // length)
            middle = start + (1 << (length - 1).bit_length() - 1)
            return hashlib.sha256(b"\1" + root(start, middle) + root(middle, end)).digest()

        return root(start, end)


def _path(level: str, number: int, width: int) -> str:
    assert number < 1000
    return f"tile/{level}/{number:03}" + (f".p/{width}" if width < 256 else "")


def _record(cast: Cast, count: int) -> None:
    for number in range(count):
        ledger.record(LedgerViewed(entry=str(number)), actor=cast.carol.actor)


@pytest.fixture
def follower(carol: Caller) -> Follower:
    return Follower(carol, KEY.public_key())


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with golang.judge() as built:
        yield built


def test_a_tlog_client_follows_the_ledger_from_size_to_size(
    acme: Cast, follower: Follower, carol: Caller
) -> None:
    seen: list[bytes] = []
    for count in (7, 240, 1, 300, 0, 150):
        _record(acme, count)
        seal()
        seen += follower.follow()
        assert len(seen) == follower.tree.size == queries.status().size
    origin = queries.own_log().origin
    assert seen == [row.leaf_bytes(origin) for row in queries.entries().order_by("leaf__index")]
    assert follower.tree.size > 690
    assert not queries.entries(kind="ledger.exported")


def test_a_follower_finds_a_ledger_that_was_rewritten(acme: Cast, follower: Follower) -> None:
    _record(acme, 10)
    seal()
    follower.follow()
    follower.tree = follower.tree._replace(root=hashlib.sha256(b"another past").digest())
    _record(acme, 10)
    seal()
    with pytest.raises(AssertionError):
        follower.follow()


def test_the_go_teams_reader_follows_it_as_well(
    acme: Cast, follower: Follower, carol: Caller, judge: Judge, tmp_path: Path
) -> None:
    trees: list[Tree] = []
    for count in (250, 20, 350):
        _record(acme, count)
        seal()
        follower.follow()
        trees.append(follower.tree)
        for name in judge.ask("tiles", old=0, size=follower.tree.size)["tiles"]:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(follower.fetch(name))
    new = trees[-1]
    for old in trees[:-1]:
        tree = {"size": new.size, "root": new.root}
        proof = judge.ask("prove_tree", folder=str(tmp_path), old=old.size, **tree)["path"]
        ours = carol.get("ledger/consistency", {"from": old.size, "to": new.size}).json()
        assert [base64.b64decode(step).hex() for step in proof] == ours["path"]
        assert ours["from"] == {"size": old.size, "root": old.root.hex()}
        assert ours["to"] == {"size": new.size, "root": new.root.hex()}
        asked = {"path": proof, "old": old.size, "oldroot": old.root, **tree}
        assert judge.accepts("tree", **asked)
        assert not judge.accepts("tree", **{**asked, "oldroot": new.root})


def test_consistency_is_shown_up_to_the_newest_checkpoint(acme: Cast, carol: Caller) -> None:
    _record(acme, 5)
    seal()
    size = queries.status().size
    same = carol.get("ledger/consistency", {"from": size}).json()
    assert (same["path"], same["from"]) == ([], same["to"])
    _record(acme, 1)
    for asked in ({"from": 1, "to": size + 1}, {"from": size, "to": 1}):
        answer = carol.get("ledger/consistency", asked)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_published"), asked
    for asked in ({}, {"from": 0}, {"from": "x"}, {"from": 1, "to": 0}, {"from": 2**70}):
        answer = carol.get("ledger/consistency", asked)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), asked


def test_nothing_is_given_out_beyond_the_newest_checkpoint(acme: Cast, carol: Caller) -> None:
    assert carol.get(f"{LOG}/checkpoint").json()["code"] == "not_published"
    assert carol.get(f"{LOG}/tile/0/000.p/1").json()["code"] == "tile_unknown"
    _record(acme, 300)
    seal()
    size = queries.status().size
    rest = size - 256
    _record(acme, 1)
    for path in ("0/000", f"0/001.p/{rest}", "0/001.p/1", "1/000.p/1", "entries/000", "0/000.p/9"):
        assert carol.get(f"{LOG}/tile/{path}").status_code == 200, path
    beyond = [f"0/001.p/{rest + 1}", "0/001", "0/002.p/1", "1/000", "1/000.p/2", "2/000.p/1"]
    beyond += ["entries/001", f"entries/001.p/{rest + 1}", "63/000.p/1", "0/x001/000"]
    malformed = ["0/000.p/256", "0/000.p/0", "0/000.p/007", "64/000", "00/000", "0/0", "0/0000"]
    malformed += ["0/x000/000", "entries/../0/000", "data/000", "-1/000", "0/000/", "0/000.P/1"]
    for path in (*beyond, *malformed):
        answer = carol.get(f"{LOG}/tile/{path}")
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
        assert answer.json()["code"] in {"tile_unknown", "not_found"}, path


def test_what_never_changes_is_cached_for_long_and_the_checkpoint_shortly(
    acme: Cast, carol: Caller
) -> None:
    _record(acme, 3)
    seal()
    for path, media_type, caching in (
        ("checkpoint", "text/plain; charset=utf-8", "private, max-age=2"),
        ("tile/0/000.p/2", "application/octet-stream", "private, max-age=31536000, immutable"),
        (
            "tile/entries/000.p/2",
            "application/octet-stream",
            "private, max-age=31536000, immutable",
        ),
    ):
        answer = carol.get(f"{LOG}/{path}")
        assert (answer["Content-Type"], answer["Cache-Control"]) == (media_type, caching)
        assert {"Authorization", "Cookie"} <= set(answer["Vary"].split(", "))
        again = carol.get(f"{LOG}/{path}", if_none_match=answer["ETag"])
        assert (again.status_code, again.content) == (304, b"")
        assert again["Cache-Control"] == caching
        head = carol.send("HEAD", f"{LOG}/{path}")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head["Content-Length"]) == len(answer.content)


def test_auditors_and_admins_follow_the_ledger_and_nobody_else(
    estate: Estate, alice: Caller, carol: Caller, dave: Caller, robo: Caller
) -> None:
    seal()
    for path in ("checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1"):
        for reader in (alice, carol):
            assert reader.get(f"{LOG}/{path}").status_code == 200
        for other in (dave, robo):
            answer = other.get(f"{LOG}/{path}")
            assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")


def test_mallory_follows_her_own_ledger_alone(
    acme: Cast, globex: Cast, carol: Caller, mallory: Caller
) -> None:
    _record(acme, 300)
    seal()
    hers = queries_of(globex)
    for path in ("tile/0/000", "tile/entries/000", "tile/1/000.p/1"):
        assert carol.get(f"{LOG}/{path}").status_code == 200
        missing = mallory.get(f"{LOG}/tile/0/999").json()
        answer = mallory.get(f"{LOG}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, missing["code"]), hers
    bundle = mallory.get(f"{LOG}/tile/entries/000.p/1").content
    assert b"/globex" in bundle
    assert b"/acme" not in bundle
    assert b"/globex\n" in mallory.get(f"{LOG}/checkpoint").content


def queries_of(cast: Cast) -> int:
    """How many entries this tenant's log has."""
    with isolation.acting_for(cast.tenant):
        return queries.status().size


def test_private_parts_are_not_in_what_a_client_follows(estate: Estate, carol: Caller) -> None:
    seal()
    size = queries.status().size
    bundle = carol.get(f"{LOG}/tile/entries/000.p/{size}").content
    assert b"run.started" in bundle
    assert b"Refund order 1042" not in bundle
