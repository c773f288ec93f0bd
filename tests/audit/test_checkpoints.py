"""The only place that tests checkpoints and the notes that they are signed as."""

from __future__ import annotations

import base64

import pytest
from bundle_folder import KEY, ORIGIN, OTHER_KEY, key_line
from hypothesis import given
from hypothesis import strategies as st

from audit import checkpoints
from audit.checkpoints import Checkpoint, CheckpointMalformed, CheckpointNotSigned, VerifierKey
from audit.proofs import EMPTY_ROOT

CHECKPOINT = Checkpoint(ORIGIN, 1234, bytes(range(32)))

# From the documentation of Go's golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfq"
    "dngotpRZb6KE6RyyBwJnAM=\n"
)


def _key() -> VerifierKey:
    return VerifierKey(ORIGIN, KEY.public_key())


def test_a_key_of_the_go_team_is_read_and_written_as_they_do():
    key = checkpoints.parse_key(GO_KEY)
    assert key.id.hex() == "c74f20a3"
    assert str(key) == GO_KEY


def test_a_signature_of_the_go_team_is_accepted():
    # Their text is no checkpoint, so it passes the signature and fails at its form.
    with pytest.raises(CheckpointMalformed, match="needs an origin"):
        checkpoints.verify(GO_NOTE, checkpoints.parse_key(GO_KEY))
    with pytest.raises(CheckpointNotSigned):
        checkpoints.verify(GO_NOTE.replace("answer", "Answer"), checkpoints.parse_key(GO_KEY))


def test_the_text_is_origin_size_and_root():
    root = base64.b64encode(CHECKPOINT.root).decode()
    note = checkpoints.sign(CHECKPOINT, KEY)
    assert note.startswith(f"{ORIGIN}\n1234\n{root}\n\n\u2014 {ORIGIN} ")


def test_what_was_signed_is_read_back():
    assert checkpoints.verify(checkpoints.sign(CHECKPOINT, KEY), _key()) == CHECKPOINT


def test_an_empty_log_can_be_signed_for():
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert checkpoints.verify(checkpoints.sign(empty, KEY), _key()) == empty


def test_signatures_of_others_beside_it_do_no_harm():
    note = checkpoints.sign(CHECKPOINT, KEY)
    theirs = checkpoints.sign(CHECKPOINT._replace(origin="witness.test"), OTHER_KEY).splitlines()[
        -1
    ]
    text, signature = note.split("\n\n")
    assert checkpoints.verify(f"{text}\n\n{theirs}\n{signature}", _key()) == CHECKPOINT


def test_another_key_of_the_same_name_is_not_the_key():
    note = checkpoints.sign(CHECKPOINT, OTHER_KEY)
    with pytest.raises(CheckpointNotSigned):
        checkpoints.verify(note, _key())


def test_the_same_key_under_another_name_is_not_the_key():
    with pytest.raises(CheckpointNotSigned):
        checkpoints.verify(
            checkpoints.sign(CHECKPOINT, KEY), VerifierKey("ledger.test/globex", KEY.public_key())
        )


def test_no_bit_of_a_signed_note_can_be_changed():
    note = checkpoints.sign(CHECKPOINT, KEY).encode()
    for bit in range(len(note) * 8):
        raw = bytearray(note)
        raw[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises((CheckpointMalformed, CheckpointNotSigned, UnicodeDecodeError)):
            checkpoints.verify(raw.decode(), _key())


@given(st.text())
def test_garbage_is_malformed_and_nothing_worse(text):
    for read in (checkpoints.read, checkpoints.parse_key):
        with pytest.raises(CheckpointMalformed):
            read(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1234", "01234"),
        ("1234", "-1"),
        ("1234", "\u0661"),
        ("1234", ""),
        ("AAEC", "AA"),
        ("AAEC", "A!EC"),
    ],
)
def test_a_checkpoint_has_one_way_to_be_written(old, new):
    with pytest.raises(CheckpointMalformed):
        checkpoints.read(checkpoints.sign(CHECKPOINT, KEY).replace(old, new, 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme",
        key_line().replace(ORIGIN, "ledger.test/globex"),
        key_line()[:-8],
        GO_KEY.replace("c74f20a3", "c74f20a4"),
    ],
)
def test_a_key_that_is_not_itself_is_refused(text):
    with pytest.raises(CheckpointMalformed):
        checkpoints.parse_key(text)
