"""The only place that tests signed notes and their keys, whatever the notes say."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit import base64_text, note_keys, notes
from audit.note_keys import KeyKind, KeyMalformed, SigningKey, VerifierKey
from audit.notes import NoteMalformed, NoteNotSigned

# The example of C2SP signed-note.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3"
    "mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# Its other example, with empty lines in the text; its key is not given.
POEM = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n"
    "ed è subito sera.\n\n"
    "\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONr"
    "MouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)
TEXT = "Three lines\nof text\nGr\u00fc\u00dfe\n"
ALICE = SigningKey("alice.test", Ed25519PrivateKey.from_private_bytes(b"a" * 32), KeyKind.ED25519)
BOB = SigningKey("bob.test", Ed25519PrivateKey.from_private_bytes(b"b" * 32), KeyKind.ED25519)
MALLORY = SigningKey("alice.test", Ed25519PrivateKey.from_private_bytes(b"m" * 32), KeyKind.ED25519)
NOTE = notes.sign(TEXT, ALICE, BOB)


def test_the_specifications_key_verifies_the_specifications_note():
    key = note_keys.parse_key(SPEC_KEY)
    assert str(key) == SPEC_KEY
    assert notes.verify(SPEC_NOTE, [key]).text == "This is an example message.\n"
    with pytest.raises(NoteNotSigned):
        notes.verify(SPEC_NOTE.replace("example m", "Example m"), [key])


def test_the_text_ends_at_the_last_empty_line():
    note = notes.parse(POEM)
    assert note.text.endswith("\n\ned è subito sera.\n")
    assert [signature.name for signature in note.signatures] == ["quasimodo.example/salvatore"]
    assert str(note) == POEM


def test_a_note_is_read_as_it_was_signed():
    assert notes.verify(NOTE, [ALICE.verifier]).text == TEXT
    assert str(notes.parse(NOTE)) == NOTE
    found = notes.signed_by(NOTE, [BOB.verifier, ALICE.verifier])
    assert [verified.key for verified in found] == [ALICE.verifier, BOB.verifier]
    assert NOTE.endswith("".join(verified.line for verified in found))


@given(st.lists(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"])), min_size=1))
def test_any_text_of_lines_can_be_signed(lines):
    text = "".join(f"{line}\n" for line in lines)
    assert notes.verify(notes.sign(text, ALICE), [ALICE.verifier]).text == text


@pytest.mark.parametrize("text", ["", "no newline", "a\tb\n", "a\x00\n", "a\r\n", "\ud800\n"])
def test_a_text_that_no_note_may_hold_is_not_signed(text):
    with pytest.raises(ValueError, match="ends with a newline"):
        notes.sign(text, ALICE)


def _names_that_hold(raw: bytes) -> set[str]:
    try:
        found = notes.signed_by(raw.decode(), [ALICE.verifier, BOB.verifier])
    except (NoteMalformed, NoteNotSigned, UnicodeDecodeError):
        return set()
    return {verified.key.name for verified in found}


def test_no_bit_of_a_note_can_change_without_a_signature_lost():
    raw = NOTE.encode()
    whole = _names_that_hold(raw)
    assert whole == {"alice.test", "bob.test"}
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << (bit % 8)
        # A name or an id that changed is an unknown key's, and is ignored: the other one holds.
        assert _names_that_hold(bytes(flipped)) < whole


def test_no_bit_of_a_note_with_one_signature_can_change():
    raw = notes.sign(TEXT, ALICE).encode()
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << (bit % 8)
        assert _names_that_hold(bytes(flipped)) == set()


def test_a_known_keys_bad_signature_spoils_the_note_though_another_holds():
    forged = notes.signature("Other text\n", BOB, seconds=0).line
    note = notes.with_signatures(notes.sign(TEXT, ALICE), [forged])
    with pytest.raises(NoteNotSigned, match="bob"):
        notes.verify(note, [ALICE.verifier, BOB.verifier])
    # Who does not know Bob's key can't tell, and need not.
    assert notes.verify(note, [ALICE.verifier]).text == TEXT


def test_a_second_bad_signature_of_the_same_key_spoils_the_note():
    forged = notes.signature("Other text\n", ALICE, seconds=0).line
    with pytest.raises(NoteNotSigned):
        notes.verify(notes.with_signatures(NOTE, [forged]), [ALICE.verifier])


def test_another_key_of_the_same_name_is_unknown_and_ignored():
    assert notes.signed_by(notes.sign(TEXT, MALLORY), [ALICE.verifier]) == []
    assert notes.verify(notes.sign(TEXT, MALLORY, ALICE), [ALICE.verifier]).text == TEXT
    with pytest.raises(NoteNotSigned):
        notes.verify(notes.sign(TEXT, MALLORY), [ALICE.verifier])


def test_a_key_of_another_kind_is_another_key():
    cosigner = SigningKey(ALICE.name, ALICE.private, KeyKind.ED25519_COSIGNATURE)
    assert cosigner.verifier.id != ALICE.verifier.id
    with pytest.raises(NoteNotSigned):
        notes.verify(NOTE, [cosigner.verifier])


def test_a_note_without_keys_is_signed_by_nobody():
    with pytest.raises(NoteNotSigned):
        notes.verify(NOTE, [])


def test_a_signature_line_is_added_once():
    line = notes.signature(TEXT, BOB, seconds=0).line
    once = notes.with_signatures(notes.sign(TEXT, ALICE), [line, line])
    assert once == notes.with_signatures(once, [line]) == NOTE


def test_sixteen_signatures_are_accepted_and_a_hundred_and_one_are_not():
    keys = [SigningKey(f"k{number}.test", ALICE.private, KeyKind.ED25519) for number in range(101)]
    assert len(notes.parse(notes.sign(TEXT, *keys[:16])).signatures) == 16
    assert (
        len(notes.signed_by(notes.sign(TEXT, *keys[:100]), [key.verifier for key in keys])) == 100
    )
    with pytest.raises(NoteMalformed, match="over 100"):
        notes.parse(notes.sign(TEXT, *keys))


SIGNED = notes.sign(TEXT, ALICE)
BASE64 = SIGNED.rpartition(" ")[2].strip()


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        f"{TEXT}\n",
        SIGNED[:-1],
        SIGNED + "\n",
        SIGNED + "more",
        SIGNED + "more\n",
        SIGNED.replace("\u2014 ", "- "),
        SIGNED.replace("\u2014 ", "\u2014"),
        SIGNED.replace("\u2014 ", "\u2014  "),
        SIGNED.replace("alice.test ", " "),
        SIGNED.replace("alice.test ", "alice+bob "),
        SIGNED.replace("alice.test ", "alice\u00a0bob "),
        SIGNED.replace("alice.test ", "alice\u2003bob "),
        SIGNED.replace("\n", "\r\n"),
        SIGNED.replace("lines", "li\ud800nes"),
        SIGNED.replace(BASE64, ""),
        SIGNED.replace(BASE64, "AAAA"),
        SIGNED.replace(BASE64, "AAAAAA=="),
        SIGNED.replace(BASE64, BASE64.rstrip("=")),
        SIGNED.replace(BASE64, BASE64[:8] + " " + BASE64[8:]),
        SIGNED.replace(BASE64, "-_" + BASE64[2:]),
        "x" * notes.LONGEST + SIGNED,
    ],
)
def test_a_note_that_breaks_a_rule_is_malformed(note):
    assert note != SIGNED
    with pytest.raises(NoteMalformed):
        notes.parse(note)


@pytest.mark.parametrize("character", sorted({chr(code) for code in range(32)} - {"\n"}))
def test_a_note_has_no_control_character_but_the_newline(character):
    with pytest.raises(NoteMalformed, match="control"):
        notes.parse(SIGNED.replace("lines", f"li{character}nes"))
    with pytest.raises(ValueError, match="control"):
        notes.sign(f"li{character}nes\n", ALICE)


def test_base64_has_one_way_to_be_written():
    raw = b"\x00" * 68
    written = base64_text.encode(raw)
    assert written.endswith("AAA=")
    note = f"{TEXT}\n\u2014 alice.test {written}\n"
    assert notes.parse(note)
    with pytest.raises(NoteMalformed, match="canonical"):
        notes.parse(note.replace("AAA=", "AAB="))


@given(st.text())
def test_garbage_is_malformed_and_nothing_worse(text):
    with pytest.raises(NoteMalformed):
        notes.parse(text)
    with pytest.raises(KeyMalformed):
        note_keys.parse_key(text)


@given(st.text(alphabet="\u2014 \nab+=A\t", max_size=60))
def test_what_is_parsed_is_written_as_it_was(text):
    try:
        note = notes.parse(text)
    except NoteMalformed:
        return
    assert str(note) == text


@pytest.mark.parametrize(
    "text",
    [
        "alice.test",
        "alice.test+530d903a",
        SPEC_KEY.replace("530d903a", "530d903b"),
        SPEC_KEY.replace("530d903a", "530D903A"),
        SPEC_KEY.replace("example.com/foo", "example.com/bar"),
        SPEC_KEY.replace("example.com/foo", ""),
        SPEC_KEY.replace("example.com/foo", "example com"),
        SPEC_KEY[:-4],
        SPEC_KEY.replace("Aeky", "Auky"),
        "alice.test+00000000+",
    ],
)
def test_a_key_that_is_not_itself_is_malformed(text):
    with pytest.raises(KeyMalformed):
        note_keys.parse_key(text)


def test_a_kind_that_nobody_here_checks_is_no_key():
    raw = bytes([0x02]) + bytes(32)
    with pytest.raises(KeyMalformed, match="known kind"):
        note_keys.parse_key(f"alice.test+00000000+{base64_text.encode(raw)}")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u3000b", "a\nb", "n" * 256])
def test_a_key_has_a_name_that_fits_a_line(name):
    with pytest.raises(ValueError, match="can be named"):
        VerifierKey(name, ALICE.private.public_key())


def test_a_key_of_one_algorithm_does_not_pass_for_the_other():
    mldsa = MLDSA44PrivateKey.from_seed_bytes(b"m" * 32).public_key()
    with pytest.raises(ValueError, match="ED25519"):
        VerifierKey("alice.test", mldsa)
    with pytest.raises(ValueError, match="MLDSA44"):
        VerifierKey("alice.test", ALICE.private.public_key(), KeyKind.MLDSA44_COSIGNATURE)
