"""The only place that tests how a log asks a witness, with a true one and with lying ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bundle_folder import OTHER_KEY
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from own_witness import LOG, NOW, Client, GrowingLog, serving

from audit import checkpoints, cosigning
from audit.checkpoints import CheckpointMalformed, KeyKind, SigningKey
from audit.cosigning import Answer, WitnessAhead, WitnessRefused, WitnessUnproven
from audit.notes import Verified

ACME = GrowingLog("acme")
CAROL = SigningKey(
    "witness.test/carol",
    Ed25519PrivateKey.from_private_bytes(b"c" * 32),
    KeyKind.ED25519_COSIGNATURE,
)
MALLORY = SigningKey(CAROL.name, OTHER_KEY, KeyKind.ED25519_COSIGNATURE)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "state", [CAROL], [LOG]) as made:
        yield made


def _ask(client: Client, new: int, *, old: int, log: GrowingLog = ACME) -> list[Verified]:
    return cosigning.request(
        client.url + "/",
        log.note(new),
        [CAROL.verifier],
        old=old,
        prove=log.prove,
        post=client.post,
    )


def test_a_cosignature_comes_back_verified_with_its_time(client):
    (found,) = _ask(client, 5, old=0)
    assert (found.key, found.seconds) == (CAROL.verifier, NOW)
    note = checkpoints.with_signatures(ACME.note(5), [found.line])
    assert checkpoints.signed_by(note, [LOG, CAROL.verifier])[1] == found
    assert _ask(client, 9, old=5)
    assert _ask(client, 9, old=9)


@pytest.mark.parametrize("old", [0, 3, 9])
def test_a_log_that_misremembers_is_told_and_asks_once_more(client, old):
    _ask(client, 5, old=0)
    (found,) = _ask(client, 9, old=old)
    assert found.line


def test_a_log_that_was_rolled_back_learns_of_it(client):
    _ask(client, 9, old=0)
    with pytest.raises(WitnessAhead, match="9 entries"):
        _ask(client, 5, old=0)
    with pytest.raises(WitnessAhead):
        _ask(client, 5, old=9)


def test_a_fork_is_refused(client):
    _ask(client, 9, old=0)
    for new in (9, 12):
        with pytest.raises(WitnessRefused, match="422"):
            _ask(client, new, old=9, log=ACME.forked_at(6))


class Liar:
    """A witness that answers what it was told to, and counts how often it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), 0

    def post(self, url: str, body: bytes) -> Answer:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


def _asked(liar: Liar, *, old: int = 3) -> list[Verified]:
    note, keys = ACME.note(5), [CAROL.verifier]
    return cosigning.request("http://w", note, keys, old=old, prove=ACME.prove, post=liar.post)


def _lines(note: str, *keys: SigningKey, seconds: int = NOW) -> bytes:
    return "".join(checkpoints.cosign(note, *keys, seconds=seconds)).encode()


TRUE = _lines(ACME.note(5), CAROL)


def test_lines_of_strangers_in_the_answer_are_left_out():
    body = _lines(ACME.note(5), MALLORY) + TRUE
    assert [found.line.encode() for found in _asked(Liar(Answer(200, body)))] == [TRUE]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"OK\n",
        TRUE[:-1],
        b"\n" + TRUE,
        TRUE + b"\xff\n",
        TRUE * 400,
        _lines(ACME.note(5), MALLORY),
        _lines(ACME.note(6), CAROL),
        _lines(ACME.note(5), CAROL, seconds=0),
        TRUE + _lines(ACME.note(6), CAROL),
        ACME.note(5).partition("\n\n")[2].encode(),
    ],
    ids=[
        "nothing",
        "an empty line",
        "words",
        "cut",
        "two texts",
        "no text",
        "endless",
        "another key",
        "another checkpoint",
        "no time",
        "a good and a bad one",
        "the log's own",
    ],
)
def test_an_answer_that_does_not_hold_is_no_cosignature(body):
    with pytest.raises(WitnessUnproven):
        _asked(Liar(Answer(200, body)))


@pytest.mark.parametrize("body", [b"", b"five\n", b"05\n", b"-1\n", b"5\n5\n", b"9" * 30 + b"\n"])
def test_a_conflict_without_a_size_is_no_answer(body):
    with pytest.raises(WitnessUnproven):
        _asked(Liar(Answer(409, body)))


def test_a_witness_that_always_disagrees_is_asked_twice_at_most():
    liar = Liar(Answer(409, b"2\n"), Answer(409, b"3\n"))
    with pytest.raises(WitnessRefused, match="409"):
        _asked(liar)
    assert liar.asked == 2


@pytest.mark.parametrize("status", [201, 302, 400, 403, 404, 422, 500])
def test_any_other_status_is_a_refusal_even_with_true_lines(status):
    with pytest.raises(WitnessRefused, match=str(status)):
        _asked(Liar(Answer(status, TRUE)))


def test_what_is_no_checkpoint_is_not_sent():
    liar = Liar(Answer(200, TRUE))
    with pytest.raises(CheckpointMalformed):
        cosigning.request(
            "http://w", "words\n", [CAROL.verifier], old=0, prove=ACME.prove, post=liar.post
        )
    assert liar.asked == 0
