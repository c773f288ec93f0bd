"""The only place that tests the keys that a PKCS #11 token keeps, against SoftHSM's tokens."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from own_tokens import ED25519, LABEL, SoftToken, make_token
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag

from audit import checkpoints, token_keys, token_sessions
from audit.checkpoints import Checkpoint
from audit.signing import LedgerKeyUnusable
from audit.token_keys import STEP, TOO_HIGH, TokenKey, TokenKeyring
from tests.environment import ROOT

RSA_BITS = 2048


@pytest.fixture
def keyring(soft_token: SoftToken) -> TokenKeyring:
    return TokenKeyring(soft_token.parsed())


def _raw(*keys: TokenKey) -> list[bytes]:
    return [key.public_key().public_bytes_raw() for key in keys]


def _refused(soft_token: SoftToken, call: Callable[[], Any]) -> str:
    """What the problem says that `call` raises; the PIN is nowhere in it."""
    with pytest.raises(LedgerKeyUnusable) as refused:
        call()
    whole = "".join(traceback.format_exception(refused.value)) + repr(refused.value.details)
    assert soft_token.pin not in whole
    return str(refused.value)


def test_the_first_key_is_made_once_and_signs_what_cryptography_verifies(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    (key,) = keyring.held()
    signature = key.sign(b"a checkpoint\n")
    assert len(signature) == 64
    public = Ed25519PublicKey.from_public_bytes(*_raw(key))
    public.verify(signature, b"a checkpoint\n")
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"another\n")
    assert _raw(*TokenKeyring(soft_token.parsed()).held()) == _raw(key)
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 1


def test_its_notes_are_what_any_verifier_of_checkpoints_accepts(keyring: TokenKeyring) -> None:
    (key,) = keyring.held()
    checkpoint = Checkpoint("ledger.test/token", 7, b"r" * 32)
    note = checkpoints.sign(checkpoint, key)
    signer = checkpoints.log_key(checkpoint.origin, key).verifier
    assert checkpoints.verify(note, signer) == checkpoint


def test_the_private_key_can_not_be_read_out(keyring: TokenKeyring, soft_token: SoftToken) -> None:
    (key,) = keyring.held()
    with soft_token.session() as session:
        (private,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        assert private[Attribute.ALWAYS_SENSITIVE]
        assert private[Attribute.NEVER_EXTRACTABLE]
        with pytest.raises(pkcs11.AttributeSensitive):
            private[Attribute.VALUE]
        wrapper = session.generate_key(KeyType.AES, 256)
        with pytest.raises(pkcs11.KeyUnextractable):
            wrapper.wrap_key(private, mechanism=Mechanism.AES_KEY_WRAP_PAD)
        for attribute, value in ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False)):
            with pytest.raises(pkcs11.AttributeReadOnly):
                private[attribute] = value
    stored = [path.read_bytes() for path in soft_token.tokens.rglob("*") if path.is_file()]
    public = key.public_key().public_bytes_raw()
    assert any(public in content for content in stored)
    assert not any(_has_seed_of(public, content) for content in stored)
    assert not any(soft_token.pin.encode() in content for content in stored)
    assert repr(key).count("=") == 2  # number and public half
    assert not any(hasattr(key, name) for name in ("private_bytes", "private_bytes_raw"))


def _has_seed_of(public: bytes, content: bytes) -> bool:
    """Whether any 32 bytes in `content` are the private key (RFC 8032) of `public`."""
    windows = {content[at : at + 32] for at in range(len(content) - 31)}
    made = map(Ed25519PrivateKey.from_private_bytes, windows)
    return any(key.public_key().public_bytes_raw() == public for key in made)


def test_a_private_key_is_found_wherever_it_is_stored_in_plain() -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    assert _has_seed_of(public, b"before" + key.private_bytes_raw() + b"after")
    assert not _has_seed_of(public, b"before" + public + b"after")


@pytest.mark.parametrize("loose", [{"extractable": True}, {"sensitive": False}])
def test_a_key_that_can_be_read_out_is_refused(
    keyring: TokenKeyring, soft_token: SoftToken, loose: dict[str, bool]
) -> None:
    soft_token.bring(id_=b"\1", **({"sensitive": True, "extractable": False} | loose))
    assert "make it sensitive, not extractable" in _refused(soft_token, keyring.held)


def test_a_key_of_the_operators_own_is_taken_and_counted_on_from(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    soft_token.bring(id_=b"\7", sensitive=True, extractable=False)
    (own,) = keyring.held()
    assert own.number == 7
    keyring.make_next()
    assert [key.number >> 32 for key in keyring.held()] == [1, 0]
    keyring.forget_old()
    keyring.make_next()
    assert [key.number >> 32 for key in keyring.held()] == [2, 1]


def test_keys_of_other_labels_are_left_alone(keyring: TokenKeyring, soft_token: SoftToken) -> None:
    soft_token.bring(id_=b"\7", label="another's", extractable=True)
    (first,) = keyring.held()
    keyring.make_next()
    keyring.forget_old()
    assert _raw(*keyring.held()) != _raw(first)
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 2
    assert soft_token.count(ObjectClass.PUBLIC_KEY) == 2


def test_the_newest_comes_first_and_the_old_one_is_destroyed_for_good(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    (old,) = keyring.held()
    assert not keyring.is_rotating
    keyring.make_next()
    keyring.make_next()
    assert keyring.is_rotating
    new = keyring.newest
    assert _raw(*keyring.held()) == _raw(new, old)
    assert new.number > old.number
    keyring.promote()
    assert _raw(*keyring.held()) == _raw(new, old)
    keyring.forget_old()
    assert _raw(*keyring.held()) == _raw(new)
    assert not keyring.is_rotating
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 1
    assert soft_token.count(ObjectClass.PUBLIC_KEY) == 1


def test_what_another_process_does_to_the_keys_is_seen_within_a_second(
    keyring: TokenKeyring, soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = keyring.held()
    script = (
        "import sys; from audit import key_uris, token_keys;"
        " token_keys.TokenKeyring(key_uris.parsed(sys.argv[1])).make_next()"
    )
    subprocess.run([sys.executable, "-c", script, soft_token.uri()], cwd=ROOT, check=True)
    assert _raw(*keyring.held()) == _raw(old)
    monkeypatch.setattr(token_keys, "time", _later(token_keys.LOOK_SECONDS))
    assert [key.number >> 32 for key in keyring.held()] == [2, 1]


def _later(seconds: float) -> Any:
    class Time:
        now = token_keys.time.monotonic()
        monotonic = staticmethod(lambda: Time.now + seconds)

    return Time


def test_half_a_key_that_was_left_by_a_kill_stands_in_nobodys_way(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    soft_token.bring(id_=b"\7", sensitive=True, extractable=False)
    with soft_token.session() as session:
        (private,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        private.destroy()
    keyring.held()
    keyring.make_next()
    keyring.forget_old()
    assert soft_token.count(ObjectClass.PUBLIC_KEY) == 1
    assert len(keyring.held()) == 1


def test_what_is_no_ed25519_key_is_refused_and_kept(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    with soft_token.session() as session:
        session.generate_keypair(KeyType.RSA, RSA_BITS, store=True, label=LABEL)
    assert "not an Ed25519 key" in _refused(soft_token, keyring.held)
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 1


def test_a_key_of_the_other_edwards_curve_is_refused(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    with soft_token.session() as session:
        given = {Attribute.EC_PARAMS: bytes.fromhex("06032b6571")}  # Ed448
        curve = session.create_domain_parameters(KeyType.EC_EDWARDS, given, local=True)
        how = Mechanism.EC_EDWARDS_KEY_PAIR_GEN
        curve.generate_keypair(mechanism=how, store=True, label=LABEL)
    assert "not an Ed25519 key" in _refused(soft_token, keyring.held)


def test_a_private_key_without_a_public_one_or_with_anothers_number_is_refused(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    soft_token.bring(id_=b"\7", sensitive=True, extractable=False)
    with soft_token.session() as session:
        (public,) = session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})
        public.destroy()
    assert "no public key of its label" in _refused(soft_token, keyring.held)
    soft_token.bring(id_=b"\7", sensitive=True, extractable=False)
    assert "two keys have one CKA_ID" in _refused(soft_token, keyring.held)


def test_a_cka_id_that_leaves_no_room_is_refused(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    soft_token.bring(id_=b"\xff" * 8, sensitive=True, extractable=False)
    said = _refused(soft_token, keyring.held)
    assert "too high to count on: ffffffffffffffff is not below ffffffff00000000" in said


@pytest.mark.parametrize("id_", [TOO_HIGH.to_bytes(8, "big"), bytes(range(1, 21))])
def test_a_cka_id_that_is_too_high_or_longer_than_8_bytes_is_refused(
    keyring: TokenKeyring, soft_token: SoftToken, id_: bytes
) -> None:
    soft_token.bring(id_=id_, sensitive=True, extractable=False)
    said = _refused(soft_token, keyring.held)
    assert f"{int.from_bytes(id_, 'big'):x} is not below ffffffff00000000, a number of 8" in said


def test_the_last_key_that_may_be_counted_to_signs_and_none_is_made_after_it(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    lowest_without_room = TOO_HIGH - STEP
    own = (lowest_without_room - 1).to_bytes(8, "big")
    soft_token.bring(id_=own, sensitive=True, extractable=False)
    keyring.make_next()
    last, before = keyring.held()
    assert lowest_without_room <= last.number < TOO_HIGH
    assert before.number == lowest_without_room - 1
    keyring.forget_old()
    assert "too high to count on" in _refused(soft_token, keyring.make_next)
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 1
    (still,) = keyring.held()
    assert _raw(still) == _raw(last)
    still.public_key().verify(still.sign(b"x"), b"x")


def test_a_signature_that_does_not_fit_the_public_key_is_never_handed_out(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    point = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    soft_token.bring(id_=b"\7", sensitive=True, extractable=False)
    with soft_token.session() as session:
        (public,) = session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})
        public.destroy()
        session.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.KEY_TYPE: KeyType.EC_EDWARDS,
                Attribute.TOKEN: True,
                Attribute.LABEL: LABEL,
                Attribute.ID: b"\7",
                Attribute.EC_PARAMS: ED25519,
                Attribute.EC_POINT: b"\x04\x20" + point,
            }
        )
    (key,) = keyring.held()
    assert "does not fit its public key" in _refused(soft_token, lambda: key.sign(b"x"))


@pytest.mark.parametrize("before", [b"", b"\x04\x20", b"\x03\x21\x00"])
def test_a_public_key_is_read_however_its_token_wraps_it(
    keyring: TokenKeyring, before: bytes
) -> None:
    raw = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    assert keyring._public(before + raw).public_bytes_raw() == raw
    for wrong in (before + raw[1:], before + raw + b"\0", b"\x05\x20" + raw):
        with pytest.raises(LedgerKeyUnusable):
            keyring._public(wrong)


# Who can't be asked


def test_a_missing_module_and_what_is_no_module_are_named(
    soft_token: SoftToken, tmp_path: Path
) -> None:
    missing = soft_token.parsed()._replace(module=tmp_path / "none.so")
    said = _refused(soft_token, TokenKeyring(missing).held)
    assert f"there is no module {tmp_path / 'none.so'}; install it" in said
    (tmp_path / "text.so").write_text("not a library")
    wrong = soft_token.parsed()._replace(module=tmp_path / "text.so")
    said = _refused(soft_token, TokenKeyring(wrong).held)
    assert "while loading" in said


def test_a_missing_token_is_named_and_one_that_says_something_else_of_itself_is_not_taken(
    soft_token: SoftToken,
) -> None:
    said = _refused(soft_token, TokenKeyring(soft_token.parsed(token="vault")).held)
    assert "is vault there?" in said
    assert "pkcs11:token=vault;object=countersign-ledger" in said
    for told in ({"serial": "0"}, {"model": "Luna"}, {"manufacturer": "Somebody"}):
        assert "is ledger there?" in _refused(
            soft_token, TokenKeyring(soft_token.parsed(**told)).held
        )
    right = {"model": "SoftHSM v2", "manufacturer": "SoftHSM project"}
    assert len(TokenKeyring(soft_token.parsed(**right)).held()) == 1


def test_of_two_tokens_with_one_label_the_serial_chooses(soft_token: SoftToken) -> None:
    with soft_token.session() as session:
        serial = session.token.serial.decode()
    first = soft_token.pin
    second = make_token(soft_token.folder)
    said = _refused(soft_token, TokenKeyring(soft_token.parsed()).held)
    assert "several such tokens" in said
    second.pin_file.write_text(first)
    assert len(TokenKeyring(soft_token.parsed(serial=serial)).held()) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_pin_that_others_may_read_is_refused(
    keyring: TokenKeyring, soft_token: SoftToken, mode: int
) -> None:
    soft_token.pin_file.chmod(mode)
    said = _refused(soft_token, keyring.held)
    assert f"others may read {soft_token.pin_file}; set its mode to 0600" in said
    soft_token.pin_file.chmod(0o600)
    assert len(keyring.held()) == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe\n", b"a\0b"])
def test_a_file_that_holds_no_pin_is_refused(
    keyring: TokenKeyring, soft_token: SoftToken, content: bytes
) -> None:
    soft_token.pin_file.write_bytes(content)
    assert "does not hold a PIN: one line of UTF-8" in _refused(soft_token, keyring.held)
    soft_token.pin_file.unlink()
    assert "can't be read: No such file" in _refused(soft_token, keyring.held)


def test_a_wrong_pin_is_tried_once_and_again_only_from_another_file(
    keyring: TokenKeyring, soft_token: SoftToken
) -> None:
    wrong = soft_token._replace(pin="12345678-wrong")
    soft_token.pin_file.write_text(wrong.pin)
    assert "the token refuses the PIN in" in _refused(wrong, keyring.held)
    assert _flags(soft_token) & TokenFlag.USER_PIN_COUNT_LOW
    with soft_token.session() as session:  # from now on that PIN is right
        session.set_pin(soft_token.pin, wrong.pin)
    assert "not tried again until that file is written anew" in _refused(wrong, keyring.held)
    again = soft_token.pin_file.with_suffix(".again")
    again.touch(mode=0o600)
    again.write_text(wrong.pin)
    again.replace(soft_token.pin_file)
    assert len(keyring.held()) == 1


def _flags(soft_token: SoftToken) -> TokenFlag:
    library = pkcs11.lib(str(soft_token.module))
    flags = next(each.flags for each in token_sessions._tokens(library))
    library.finalize()
    return flags


@pytest.mark.parametrize("flag", [TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED])
def test_the_last_try_before_a_token_locks_itself_is_left_to_a_person(
    keyring: TokenKeyring, soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch, flag: TokenFlag
) -> None:
    class Warned:
        """SoftHSM never locks itself, so its token is given the flag of one that is about to."""

        def __init__(self, token: pkcs11.Token) -> None:
            self.token, self.flags = token, token.flags | flag

        def __getattr__(self, name: str) -> Any:
            assert name != "open", "it was tried"
            return getattr(self.token, name)

    plain = token_sessions._tokens
    monkeypatch.setattr(token_sessions, "_tokens", lambda library: map(Warned, plain(library)))
    assert "locked, or would be after one more" in _refused(soft_token, keyring.held)


# Who goes away


def test_a_token_that_is_gone_is_said_and_signs_again_when_it_is_back(
    keyring: TokenKeyring, soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_keys, "LOOK_SECONDS", 0)
    (key,) = keyring.held()
    soft_token.vanish()
    for _ in range(3):
        _refused(soft_token, lambda: key.sign(b"x"))
        _refused(soft_token, keyring.held)
    soft_token.return_()
    (again,) = keyring.held()
    assert _raw(again) == _raw(key)
    again.public_key().verify(again.sign(b"x"), b"x")
    # What was held before belongs to a session that has ended, and never signs again.
    assert "has ended" in _refused(soft_token, lambda: key.sign(b"x"))
    assert keyring.held() == [again]


def test_a_token_that_comes_back_without_its_keys_gets_no_new_one_from_whoever_saw_them(
    keyring: TokenKeyring, soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_keys, "LOOK_SECONDS", 0)
    keyring.held()
    with soft_token.session() as session:
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            for each in list(session.get_objects({Attribute.CLASS: kind})):
                each.destroy()
    assert "does not show it any more" in _refused(soft_token, keyring.held)
    assert soft_token.count(ObjectClass.PRIVATE_KEY) == 0
    # A process that is started then has seen none, and takes it for a first start.
    assert len(TokenKeyring(soft_token.parsed()).held()) == 1


THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from audit import key_uris
from audit.token_keys import TokenKeyring

ring = TokenKeyring(key_uris.parsed(sys.argv[1]))
(key,) = ring.held()

def sign(number):
    for turn in range(40):
        data = f"{number} {turn}".encode()
        key.public_key().verify(key.sign(data), data)
        assert not ring.is_rotating

with ThreadPoolExecutor(6) as threads:
    list(threads.map(sign, range(6)))
"""


FORKED = """
import os, sys
from audit import key_uris
from audit.signing import LedgerKeyUnusable
from audit.token_keys import TokenKeyring

uri = key_uris.parsed(sys.argv[1])
ring = TokenKeyring(uri)
(key,) = ring.held()
if not (child := os.fork()):
    for call in (ring.held, lambda: key.sign(b"x"), TokenKeyring(uri).held):
        try:
            call()
            os._exit(1)
        except LedgerKeyUnusable as problem:
            if "forked" not in str(problem):
                os._exit(2)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
key.public_key().verify(key.sign(b"x"), b"x")
"""


@pytest.mark.parametrize("script", [THREADS, FORKED], ids=["threads", "forked"])
def test_threads_share_a_session_and_a_forked_process_does_not(
    soft_token: SoftToken, script: str
) -> None:
    # In a process of its own: what goes wrong in a module ends it.
    command = [sys.executable, "-c", script, soft_token.uri()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_pin_is_in_no_log_and_in_no_description(
    keyring: TokenKeyring, soft_token: SoftToken, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (key,) = keyring.held()
    keyring.make_next()
    assert "Made a key that signs the checkpoints: pkcs11:token=ledger" in caplog.text
    for shown in (caplog.text, repr(key), repr(vars(keyring)), repr(vars(keyring._token))):
        assert soft_token.pin not in shown
