"""The only place for keys that a PKCS #11 token keeps: they sign there, and never leave it.

A token is an HSM, or a key service that offers itself as one. The keys are made in it, sensitive
and not extractable. They share a label, and are told apart by their CKA_ID, a number that counts
up: the highest is the newest, and no rotation has to move anything.
"""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from audit.key_uris import KeyUri
from audit.token_sessions import Token

# A service may count its requests: what another process did to the keys is seen so late.
LOOK_SECONDS = 1.0
# CKA_EC_PARAMS of Ed25519: the OID of RFC 8410, and the name that PKCS #11 3.0 gives.
OID = bytes.fromhex("06032b6570")
ED25519 = (OID, b"\x13\x0cedwards25519")
# What stands before the 32 bytes in CKA_EC_POINT: an OCTET STRING, a BIT STRING, or nothing.
BEFORE_POINT = (b"\x04\x20", b"\x03\x21\x00", b"")
PROTECTED = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
# The upper half of a CKA_ID counts; the lower keeps two apart that are made at once.
STEP = 2**32
# The first CKA_ID that is refused: what is made after one below it still fits into 8 bytes.
TOO_HIGH = 2**64 - STEP

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenKey:
    """A private key that its token keeps: a `note_keys.PrivateKey`, for one session."""

    number: int
    public: Ed25519PublicKey
    _private: Any = field(repr=False)
    _token: Token = field(repr=False)

    def public_key(self) -> Ed25519PublicKey:
        """Its public half."""
        return self.public

    def sign(self, data: bytes, /) -> bytes:
        """64 bytes (RFC 8032), made by the token and verified here. Raises LedgerKeyUnusable."""
        with self._token.speaking(within=self._private.session):
            made: bytes = self._private.sign(data, mechanism=Mechanism.EDDSA)
            try:
                self.public.verify(made, data)
            except InvalidSignature:
                reason = f"what it signs does not fit its public key (CKA_ID {self.number:016x})"
                raise self._token.unusable(reason) from None
        return made


class TokenKeyring:
    """A `signing.Keyring` in a token. Threads may share it."""

    def __init__(self, uri: KeyUri) -> None:
        self.place = uri.place
        self._label = uri.label
        self._token = Token(uri)
        self._keys: list[TokenKey] = []
        self._seen_in: pkcs11.Session | None = None
        self._look_at = 0.0

    def held(self) -> list[TokenKey]:
        """All of them, the newest first, so that a log which is new meanwhile need not go over.

        The first is made at the first look alone: a token that showed one to this object and shows
        none later is away, or not itself. What an earlier process saw is not known here: a token
        that is empty when the sequencer starts gets a key. Raises LedgerKeyUnusable.
        """
        with self._token.speaking() as session:
            is_known = session is self._seen_in and time.monotonic() < self._look_at
            return self._keys if is_known else self._look(session)

    @property
    def newest(self) -> TokenKey:
        """The key that logs go over to. Raises LedgerKeyUnusable."""
        with self._token.speaking() as session:
            return self._look(session)[0]

    @property
    def is_rotating(self) -> bool:
        """Whether there is more than one. Raises LedgerKeyUnusable."""
        with self._token.speaking() as session:
            return len(self._look(session)) > 1

    def make_next(self) -> None:
        """Make a key beside the present one, unless it is there. Raises LedgerKeyUnusable."""
        with self._token.speaking() as session:
            present, *others = self._look(session)
            if not others:
                self._make(session, after=present.number)
                self._look(session)

    def promote(self) -> None:
        """Nothing: the newest key is that with the highest number."""

    def forget_old(self) -> None:
        """Destroy all but the newest, the private halves first. Raises LedgerKeyUnusable."""
        with self._token.speaking() as session:
            newest = self._look(session)[0]
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                self._destroy(session, kind, all_but=newest)
            self._look(session)

    def _destroy(self, session: pkcs11.Session, kind: ObjectClass, *, all_but: TokenKey) -> None:
        for each in self._objects(session, kind):
            if _number(each) != all_but.number:
                each.destroy()

    def _look(self, session: pkcs11.Session) -> list[TokenKey]:
        found = self._found(session)
        if not found and not self._keys:
            self._make(session, after=0)
            found = self._found(session)
        if not found:
            raise self._token.unusable("its token does not show it any more")
        self._keys, self._seen_in = found, session
        self._look_at = time.monotonic() + LOOK_SECONDS
        return found

    def _found(self, session: pkcs11.Session) -> list[TokenKey]:
        publics = {_number(each): each for each in self._objects(session, ObjectClass.PUBLIC_KEY)}
        privates = self._objects(session, ObjectClass.PRIVATE_KEY)
        found = [self._key(each, publics.get(_number(each))) for each in privates]
        if len({key.number for key in found}) != len(found):
            raise self._token.unusable("two keys have one CKA_ID; give each its own")
        return sorted(found, key=lambda key: key.number, reverse=True)

    def _objects(self, session: pkcs11.Session, kind: ObjectClass) -> list[Any]:
        return list(session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: self._label}))

    def _key(self, private: Any, public: Any) -> TokenKey:
        number = _number(private)
        if not _is_ed25519(private):
            raise self._token.unusable("it is not an Ed25519 key; name another label")
        if any(private[name] is not value for name, value in PROTECTED.items()):
            raise self._token.unusable("it may be read out: make it sensitive, not extractable")
        self._check_room(number)
        if public is None or not _is_ed25519(public):
            raise self._token.unusable("no public key of its label and its CKA_ID is beside it")
        return TokenKey(number, self._public(public[Attribute.EC_POINT]), private, self._token)

    def _check_room(self, number: int) -> None:
        if number >= TOO_HIGH:
            raise self._token.unusable(
                f"a CKA_ID would be too high to count on: {number:x} is not below {TOO_HIGH:x}, a"
                " number of 8 bytes; give the key a low one"
            )

    def _public(self, point: bytes) -> Ed25519PublicKey:
        for before in BEFORE_POINT:
            if point.startswith(before) and len(point) == len(before) + 32:
                return Ed25519PublicKey.from_public_bytes(point[-32:])
        raise self._token.unusable("its public key is not one of 32 bytes")

    def _make(self, session: pkcs11.Session, *, after: int) -> None:
        number = (after // STEP + 1) * STEP + secrets.randbelow(STEP)
        self._check_room(number)
        curve = session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: OID}, local=True
        )
        curve.generate_keypair(
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            id=number.to_bytes(8, "big"),
            label=self._label,
            store=True,
            private_template=PROTECTED,
        )
        log.info("Made a key that signs the checkpoints: %s, CKA_ID %016x.", self.place, number)


def _is_ed25519(found: Any) -> bool:
    return found.key_type is KeyType.EC_EDWARDS and found[Attribute.EC_PARAMS] in ED25519


def _number(found: Any) -> int:
    return int.from_bytes(found[Attribute.ID], "big")
