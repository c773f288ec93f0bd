"""The only place that tests what cosigners add to a checkpoint, and the log's ML-DSA-44 key."""

from __future__ import annotations

import hashlib

import pytest
from bundle_folder import KEY, ORIGIN
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit import checkpoints, note_keys, notes
from audit.checkpoints import (
    Checkpoint,
    CheckpointMalformed,
    CheckpointNotSigned,
    KeyKind,
    SigningKey,
    VerifierKey,
)

NOW = 1_772_452_800
CHECKPOINT = Checkpoint(ORIGIN, 1234, bytes(range(32)))
LOG = VerifierKey(ORIGIN, KEY.public_key())
MLDSA = MLDSA44PrivateKey.from_seed_bytes(b"m" * 32)
LOG_MLDSA = checkpoints.log_key(ORIGIN, MLDSA).verifier
W1 = SigningKey(
    "witness.test/w1",
    Ed25519PrivateKey.from_private_bytes(b"1" * 32),
    KeyKind.ED25519_COSIGNATURE,
)
W2 = SigningKey(
    "witness.test/w2", MLDSA44PrivateKey.from_seed_bytes(b"2" * 32), KeyKind.MLDSA44_COSIGNATURE
)

# A checkpoint of a public log and four public witnesses; the keys are two of theirs.
PUBLIC = (
    "arche2025h1.staging.ct.transparency.dev\n"
    "1432088532\n"
    "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
    "\n"
    "\u2014 arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6ho"
    "GREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n"
    "\u2014 arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUk"
    "zbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n"
    "\u2014 transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYT"
    "zwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n"
    "\u2014 witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/"
    "iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n"
    "\u2014 remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIob"
    "WX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n"
    "\u2014 witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr"
    "+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n"
)
PUBLIC_LOG = (
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
)
PUBLIC_WITNESSES = [
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
]
# The example of C2SP tlog-cosignature; its keys are not given.
EXAMPLE = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Z"
    "hcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJ"
    "sX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def _signed(*keys: SigningKey) -> str:
    note = checkpoints.sign(CHECKPOINT, KEY)
    return checkpoints.with_signatures(note, checkpoints.cosign(note, *keys, seconds=NOW))


def test_the_specifications_example_is_read():
    found = checkpoints.read(EXAMPLE)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    cosignature = notes.parse(EXAMPLE).signatures[1]
    assert cosignature.id.hex() == "8d66cf3f"
    assert int.from_bytes(cosignature.signature[:8], "big") == 1679315147


def test_a_public_log_and_public_witnesses_are_verified():
    log = checkpoints.parse_key(PUBLIC_LOG)
    witnesses = checkpoints.parse_keys("\n".join(PUBLIC_WITNESSES))
    assert checkpoints.verify(PUBLIC, log).size == 1432088532
    found = checkpoints.signed_by(PUBLIC, witnesses)
    assert {verified.key.name for verified in found} == {key.name for key in witnesses}
    assert [verified.seconds for verified in found] == [0x6A122120] * 2
    for key in [log, *witnesses]:
        with pytest.raises(CheckpointNotSigned):
            checkpoints.verify(PUBLIC.replace("1432088532", "1432088533"), key)


@pytest.mark.parametrize("witness", [W1, W2], ids=lambda key: key.kind.name)
def test_a_cosignature_is_verified_with_its_time(witness):
    note = _signed(witness)
    (found,) = checkpoints.signed_by(note, [witness.verifier])
    assert (found.key, found.seconds) == (witness.verifier, NOW)
    assert note.endswith(found.line)
    assert checkpoints.verify(note, LOG) == CHECKPOINT


@pytest.mark.parametrize("witness", [W1, W2], ids=lambda key: key.kind.name)
def test_a_cosigners_key_is_read_as_it_is_written(witness):
    assert checkpoints.parse_key(str(witness.verifier)) == witness.verifier


def test_keys_that_are_equal_count_once():
    for key in (LOG, LOG_MLDSA, W1.verifier, W2.verifier):
        assert len({key, checkpoints.parse_key(str(key))}) == 1
    assert len({LOG, LOG_MLDSA, W1.verifier, W2.verifier}) == 4


def test_the_message_of_an_ed25519_cosignature_is_the_specifications():
    text = checkpoints.read(EXAMPLE).text
    made = note_keys.message("w", KeyKind.ED25519_COSIGNATURE, text, 1679315147)
    assert made.decode() == (
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_the_message_of_an_ml_dsa_44_cosignature_is_the_specifications():
    made = note_keys.cosigned_message("w1", Checkpoint("acme", 258, b"\xee" * 32), 1)
    assert made.hex() == (
        "737562747265652f76310a00"  # label, 12 bytes
        "027731"  # cosigner_name
        "0000000000000001"  # timestamp
        "0461636d65"  # log_origin
        "0000000000000000"  # start
        "0000000000000102" + "ee" * 32  # end
    )


def test_a_log_signs_with_two_keys_and_either_will_do():
    note = checkpoints.sign(CHECKPOINT, KEY, MLDSA, seconds=NOW)
    for keys in ([LOG], [LOG_MLDSA], [LOG, LOG_MLDSA]):
        assert checkpoints.verify(note, *keys) == CHECKPOINT
    found = checkpoints.signed_by(note, [LOG, LOG_MLDSA])
    assert [(verified.key.kind, verified.seconds) for verified in found] == [
        (KeyKind.ED25519, 0),
        (KeyKind.MLDSA44_COSIGNATURE, NOW),
    ]


def test_a_log_may_say_nothing_of_the_time():
    note = checkpoints.sign(CHECKPOINT, MLDSA)
    assert checkpoints.signed_by(note, [LOG_MLDSA])[0].seconds == 0


def _that_hold(raw: bytes, keys: list[VerifierKey]) -> set[KeyKind]:
    try:
        return {found.key.kind for found in checkpoints.signed_by(raw.decode(), keys)}
    except (CheckpointMalformed, CheckpointNotSigned, UnicodeDecodeError):
        return set()


def test_no_bit_of_a_cosigned_checkpoint_can_change_without_a_signature_lost():
    note = checkpoints.with_signatures(
        checkpoints.sign(CHECKPOINT, KEY, MLDSA, seconds=NOW), _lines_of(W1)
    )
    keys = [LOG, LOG_MLDSA, W1.verifier]
    raw = note.encode()
    whole = _that_hold(raw, keys)
    assert whole == set(KeyKind)
    # Every bit but those within the long signature, and every 17th bit of that.
    long = raw.index(b"\n", raw.index(b"\n\n") + 2) + 100, raw.rindex("\u2014".encode()) - 20
    bits = [*range(long[0] * 8), *range(*(8 * at for at in long), 17)]
    for bit in [*bits, *range(long[1] * 8, len(raw) * 8)]:
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << (bit % 8)
        assert _that_hold(bytes(flipped), keys) < whole


def _lines_of(*keys: SigningKey) -> list[str]:
    return checkpoints.cosign(checkpoints.sign(CHECKPOINT, KEY), *keys, seconds=NOW)


@pytest.mark.parametrize("witness", [W1, W2], ids=lambda key: key.kind.name)
def test_a_cosignature_does_not_pass_for_another_checkpoint(witness):
    for other in (
        CHECKPOINT._replace(size=1235),
        CHECKPOINT._replace(root=bytes(32)),
        CHECKPOINT._replace(origin="ledger.test/globex"),
    ):
        note = checkpoints.with_signatures(checkpoints.sign(other, KEY), _lines_of(witness))
        with pytest.raises(CheckpointNotSigned):
            checkpoints.signed_by(note, [witness.verifier])


def test_an_ml_dsa_44_cosigner_can_not_be_given_another_name():
    renamed = VerifierKey("witness.test/mallory", W2.private.public_key(), W2.kind)
    signature = notes.parse(_signed(W2)).signatures[1]
    line = signature._replace(name=renamed.name, id=renamed.id).line
    note = checkpoints.with_signatures(checkpoints.sign(CHECKPOINT, KEY), [line])
    with pytest.raises(CheckpointNotSigned):
        checkpoints.signed_by(note, [renamed])


@pytest.mark.parametrize("witness", [W1, W2], ids=lambda key: key.kind.name)
def test_a_time_past_the_last_one_does_not_verify(witness):
    signature = notes.parse(_signed(witness)).signatures[1]
    late = (2**63).to_bytes(8, "big") + signature.signature[8:]
    note = checkpoints.with_signatures(
        checkpoints.sign(CHECKPOINT, KEY), [signature._replace(signature=late).line]
    )
    with pytest.raises(CheckpointNotSigned):
        checkpoints.signed_by(note, [witness.verifier])
    with pytest.raises(ValueError, match="2\\^63"):
        witness.sign(CHECKPOINT.text, seconds=2**63)


def test_a_cosignature_that_is_cut_short_does_not_verify():
    for length in (1, 7, 8, 9, 71):
        signature = notes.parse(_signed(W1)).signatures[1]
        line = signature._replace(signature=signature.signature[:length]).line
        note = checkpoints.with_signatures(checkpoints.sign(CHECKPOINT, KEY), [line])
        with pytest.raises(CheckpointNotSigned):
            checkpoints.signed_by(note, [W1.verifier])


def test_an_ml_dsa_44_key_signs_checkpoints_and_nothing_else():
    with pytest.raises(CheckpointMalformed):
        notes.sign("Pay Mallory\n", W2, seconds=NOW)
    with pytest.raises(CheckpointMalformed):
        checkpoints.cosign(notes.sign("Pay Mallory\n", W1, seconds=NOW), W1, seconds=NOW)


def test_extension_lines_are_kept_and_ed25519_covers_them():
    extended = CHECKPOINT._replace(extensions=("one more line", "and another"))
    note = checkpoints.sign(extended, KEY)
    assert checkpoints.verify(note, LOG) == extended
    cosigned = checkpoints.with_signatures(note, checkpoints.cosign(note, W1, W2, seconds=NOW))
    changed = cosigned.replace("one more line", "two more lines")
    for key in (LOG, W1.verifier):
        with pytest.raises(CheckpointNotSigned):
            checkpoints.verify(changed, key)
    # As the specification has it: ML-DSA-44 vouches for the tree alone.
    assert checkpoints.verify(changed, W2.verifier)[:3] == CHECKPOINT[:3]


def test_an_extension_line_is_not_empty():
    note = notes.sign(f"{CHECKPOINT.text}\nmore\n", checkpoints.log_key(ORIGIN, KEY))
    with pytest.raises(CheckpointMalformed):
        checkpoints.verify(note, LOG)


def test_an_origin_is_no_longer_than_a_cosignature_can_say():
    longest = CHECKPOINT._replace(origin="a" * 255)
    note = checkpoints.sign(longest, KEY)
    assert checkpoints.cosign(note, W2, seconds=NOW)
    longer = SigningKey("w", KEY, KeyKind.ED25519)
    with pytest.raises(CheckpointMalformed, match="255"):
        checkpoints.read(notes.sign(CHECKPOINT._replace(origin="a" * 256).text, longer))


def test_a_key_id_is_of_name_kind_and_key():
    raw = KEY.public_key().public_bytes_raw()
    for kind in (KeyKind.ED25519, KeyKind.ED25519_COSIGNATURE):
        digest = hashlib.sha256(b"acme\n" + bytes([kind]) + raw).digest()
        assert VerifierKey("acme", KEY.public_key(), kind).id == digest[:4]
