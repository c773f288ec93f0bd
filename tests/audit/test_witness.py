"""The only place that tests what a witness cosigns, and what it refuses with which status."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from bundle_folder import KEY, ORIGIN, OTHER_KEY
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from own_witness import LOG, NEWEST, NOW, GrowingLog, is_cosigned, serving

from audit import checkpoints, notes
from audit.checkpoints import Checkpoint, KeyKind, SigningKey
from audit.submissions import Submission

ACME = GrowingLog("acme")


# 200


def test_a_first_checkpoint_needs_no_proof(client, own):
    reply = client.submit(ACME.submission(0, 5))
    assert reply.status == 200
    assert is_cosigned(ACME.note(5), reply.text, own)


def test_a_cosignature_is_of_both_kinds(client):
    lines = client.submit(ACME.submission(0, 5)).text.splitlines()
    assert [len(notes.parse_signature(line).signature) for line in lines] == [8 + 64, 8 + 2420]


def test_a_log_that_grows_is_cosigned_at_each_size(client, own):
    sizes = [0, 1, 2, 3, 7, 8, 8, 33, 64]
    for old, new in itertools.pairwise(sizes):
        reply = client.submit(ACME.submission(old, new))
        assert reply.status == 200
        assert is_cosigned(ACME.note(new), reply.text, own)


def test_an_empty_log_is_cosigned_and_then_grows(client):
    assert client.submit(ACME.submission(0, 0)).status == 200
    assert client.submit(ACME.submission(0, 3)).status == 200


def test_signatures_of_strangers_beside_the_logs_are_ignored(client, own):
    stranger = SigningKey("mallory.test", OTHER_KEY, KeyKind.ED25519)
    same_name = SigningKey(ORIGIN, OTHER_KEY, KeyKind.ED25519)
    note = notes.with_signatures(
        ACME.note(5),
        [notes.signature(ACME.note(5), key, seconds=0).line for key in (stranger, same_name)],
    )
    reply = client.submit(bytes(Submission(0, [], note)))
    assert is_cosigned(note, reply.text, own)
    kept = client.ask("GET", NEWEST).text
    assert "mallory.test" not in kept
    assert checkpoints.verify(kept, LOG).size == 5


def test_a_log_may_sign_with_either_of_its_keys(tmp_path, own):
    mldsa = MLDSA44PrivateKey.from_seed_bytes(b"m" * 32)
    both = [LOG, checkpoints.log_key(ORIGIN, mldsa).verifier]
    checkpoint = checkpoints.read(ACME.note(5))
    with serving(tmp_path / "other", own, both) as client:
        for signers in ([mldsa], [KEY], [KEY, mldsa]):
            note = checkpoints.sign(checkpoint, *signers, seconds=NOW)
            old = 0 if signers == [mldsa] else 5
            assert client.submit(bytes(Submission(old, [], note))).status == 200
        one_bad = checkpoints.sign(checkpoint, KEY, mldsa).replace("\n\n", "\nextension\n\n", 1)
        assert client.submit(bytes(Submission(5, [], one_bad))).status == 403


def test_extension_lines_are_cosigned_as_they_are(client):
    extended = checkpoints.read(ACME.note(5))._replace(extensions=("of the log's own",))
    note = checkpoints.sign(extended, KEY)
    assert client.submit(bytes(Submission(0, [], note))).status == 200
    assert checkpoints.verify(client.ask("GET", NEWEST).text, LOG) == extended


# 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 0\n\n",
        b"old 00\n\n" + ACME.note(5).encode(),
        b"old -1\n\n" + ACME.note(5).encode(),
        b"old \xd9\xa1\n\n" + ACME.note(5).encode(),
        b"0\n\n" + ACME.note(5).encode(),
        b"old 0\n" + ACME.note(5).encode(),
        b"old 0\n\n\n" + ACME.note(5).encode(),
        b"old 0\nAAAA\n\n" + ACME.note(5).encode(),
        b"old 0\n!\n\n" + ACME.note(5).encode(),
        b"old 0\r\n\r\n" + ACME.note(5).encode(),
        b"old 0\n\n" + ACME.note(5).encode()[:-1],
        b"old 0\n\n\xff" + ACME.note(5).encode(),
        b"old 0\n\n" + ACME.note(5).replace("\n5\n", "\n05\n").encode(),
        b"old 1\n" + b"A" * 43 + b"=\n" + ACME.note(5).encode(),
        bytes(Submission(1, [bytes(32)] * 64, ACME.note(5))),
    ],
)
def test_what_is_no_submission_is_a_bad_request(client, body):
    assert client.submit(body).status == 400
    assert client.ask("GET", NEWEST).status == 404


def test_an_old_size_past_the_new_one_is_a_bad_request(client):
    client.submit(ACME.submission(0, 8))
    assert client.submit(ACME.submission(8, 5)).status == 400
    assert client.submit(ACME.submission(9, 5)).status == 400


# 403 and 404


@pytest.mark.parametrize(
    "note",
    [
        GrowingLog("acme", key=OTHER_KEY).note(5),
        ACME.note(5).replace("\n5\n", "\n6\n"),
        notes.sign(
            checkpoints.read(ACME.note(5)).text,
            SigningKey("globex.test", KEY, KeyKind.ED25519),
        ),
    ],
    ids=["another key", "another size", "another name"],
)
def test_what_the_log_did_not_sign_is_forbidden(client, note):
    assert client.submit(bytes(Submission(0, [], note))).status == 403
    assert client.ask("GET", NEWEST).status == 404


def test_a_log_that_nobody_named_is_not_found(client):
    globex = GrowingLog("globex", origin="ledger.test/globex")
    assert client.submit(globex.submission(0, 5)).status == 404


# 409


def test_another_old_size_is_a_conflict_that_tells_the_right_one(client):
    assert client.submit(ACME.submission(3, 5)) == (409, "text/x.tlog.size", "0\n")
    client.submit(ACME.submission(0, 5))
    for old in (0, 3):
        assert client.submit(ACME.submission(old, 7)) == (409, "text/x.tlog.size", "5\n")
    assert client.submit(ACME.submission(6, 7)).status == 409


def test_a_rollback_is_a_conflict_whatever_it_claims(client):
    client.submit(ACME.submission(0, 8))
    assert client.submit(ACME.submission(0, 5)) == (409, "text/x.tlog.size", "8\n")
    assert client.submit(ACME.submission(5, 5)) == (409, "text/x.tlog.size", "8\n")
    assert client.submit(ACME.submission(8, 8)).status == 200


# 422


def test_a_fork_is_notis_cosigned(client):
    client.submit(ACME.submission(0, 8))
    fork = ACME.forked_at(6)
    assert client.submit(fork.submission(8, 12)).status == 422
    assert client.submit(fork.submission(8, 8)).status == 422
    # Not even with a proof that is true of another pair of trees.
    stolen = bytes(Submission(8, ACME.prove(8, 12), fork.note(12)))
    assert client.submit(stolen).status == 422
    assert client.submit(ACME.submission(8, 12)).status == 200


@pytest.mark.parametrize("proof", [[], [bytes(32)], [bytes(32)] * 63])
def test_a_proof_that_proves_nothing_is_refused(client, proof):
    client.submit(ACME.submission(0, 5))
    assert client.submit(bytes(Submission(5, proof, ACME.note(9)))).status == 422


def test_a_first_checkpoint_takes_no_proof(client):
    assert client.submit(bytes(Submission(0, [bytes(32)], ACME.note(5)))).status == 422


def test_the_same_size_takes_no_proof(client):
    client.submit(ACME.submission(0, 5))
    assert client.submit(bytes(Submission(5, [bytes(32)], ACME.note(5)))).status == 422


def test_an_empty_tree_has_one_root(client):
    note = checkpoints.sign(Checkpoint(ORIGIN, 0, bytes(32)), KEY)
    assert client.submit(bytes(Submission(0, [], note))).status == 422


# Concurrency


def test_of_two_histories_at_once_one_isis_cosigned(client):
    fork = ACME.forked_at(6)
    client.submit(ACME.submission(0, 6))
    bodies = [log.submission(6, 12) for log in (ACME, fork)] * 8
    random.Random(3).shuffle(bodies)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(client.submit, bodies))
    statuses = {body: set() for body in bodies}
    for body, reply in zip(bodies, replies, strict=True):
        statuses[body].add(reply.status)
    assert sorted(map(sorted, statuses.values())) == [[200, 409], [409]]


def test_a_witness_under_load_never_goes_back(client, own):
    """Each thread submits what it likes; the sizes that were cosigned never shrink."""
    cosigned: list[tuple[int, str]] = []

    def submit(seed: int) -> None:
        known, chance = 0, random.Random(seed)
        for _ in range(12):
            new = min(len(ACME.leaves), known + chance.randrange(4))
            reply = client.submit(ACME.submission(known, new))
            if reply.status == 409:
                known = int(reply.text)
            elif reply.status == 200:
                known = new
                cosigned.append((new, reply.text))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(submit, range(6)))
    assert all(is_cosigned(ACME.note(size), lines, own) for size, lines in cosigned)
    newest = checkpoints.read(client.ask("GET", NEWEST).text).size
    assert newest == max(size for size, _ in cosigned)
