"""The only place for the keys of data subjects: one a person and ledger, until it is destroyed.

A subject is known to the ledger by a random id. Which person it is stands nowhere but in
`name_code`, a keyed hash (HMAC-SHA-256) of the person's name, and their key is stored wrapped
(AES-256-GCM): both under keys that are derived (HKDF, RFC 5869) from SECRET_KEY, so a copy of the
database opens no body. A person's name is "member:<id>", "client_app:<id>" or "person:<name>".
"""

from __future__ import annotations

import functools
import hmac
import os
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import connection

from audit.bodies import KEY_BYTES, NONCE_BYTES, Subject
from audit.errors import Problem
from audit.ids import new_id
from audit.roles import NoLedger

NAMES = b"countersign audit subject names 1"
KEYS = b"countersign audit subject keys 1"

# Takes `lookup`. A key that another transaction is making at this moment is waited for; it is
# found by the second statement, which sees what was committed meanwhile.
FIND = """
SELECT key.id, key.wrapped FROM audit.subject_key AS key
WHERE key.log_id = (SELECT id FROM audit.log WHERE role_name = current_user)
  AND key.name_code = ANY(%(codes)s)
ORDER BY array_position(%(codes)s, key.name_code) LIMIT 1
"""
FIND_ALL = """
SELECT key.name_code, key.id, key.wrapped FROM audit.subject_key AS key
WHERE key.log_id = (SELECT id FROM audit.log WHERE role_name = current_user)
  AND key.name_code = ANY(%(codes)s)
"""
MAKE = """
INSERT INTO audit.subject_key (id, log_id, name_code, wrapped)
SELECT %(id)s, id, %(code)s, %(wrapped)s FROM audit.log WHERE role_name = current_user
ON CONFLICT DO NOTHING
"""


class SubjectKeyUnreadable(Problem):
    """The key of the subject {subject} does not open with SECRET_KEY or one of its fallbacks."""

    code = "subject_key_unreadable"
    status = 500


class PersonMalformed(Problem):
    """A person's name must be text: it holds half of a surrogate pair."""

    code = "person_malformed"
    status = 422


def of(person: str) -> Subject:
    """The subject that `person` is in the acting tenant's ledger, made where there is none.

    In the caller's transaction. Raises PersonMalformed, SubjectKeyUnreadable, roles.NoLedger.
    """
    found = find(person)
    if found is not None:
        return found
    with connection.cursor() as cursor:
        cursor.execute(MAKE, new_key(person))
    made = find(person)
    if made is None:
        raise NoLedger(role=_current_user())
    return made


def of_all(people: Iterable[str]) -> dict[str, Subject]:
    """The subject that each of `people` is, made where there is none. Raises what `of` raises."""
    wanted = {_name_code(secret, person): person for person in people for secret in _secrets()}
    with connection.cursor() as cursor:
        cursor.execute(FIND_ALL, {"codes": list(wanted)})
        found = {wanted[bytes(row[0])]: unwrapped(row[1:]) for row in cursor.fetchall()}
    # In one order everywhere: whoever makes a key holds up others who make the same.
    return found | {person: of(person) for person in sorted({*wanted.values()} - found.keys())}


def _current_user() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text")
        (role,) = cursor.fetchone()
    return str(role)


def find(person: str) -> Subject | None:
    """The subject that `person` is in the acting tenant's ledger. Raises SubjectKeyUnreadable."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, lookup(person))
        row = cursor.fetchone()
    return unwrapped(row) if row else None


def ids_of(people: Iterable[str]) -> list[UUID]:
    """The ids of those of `people` whom the acting tenant's ledger knows. Opens no key."""
    codes = [_name_code(secret, person) for person in people for secret in _secrets()]
    with connection.cursor() as cursor:
        cursor.execute(FIND_ALL, {"codes": codes})
        return sorted({row[1] for row in cursor.fetchall()})


def by_id(id_: UUID) -> Subject | None:
    """The acting tenant's subject with this id; None once its key is destroyed.

    Raises SubjectKeyUnreadable.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, wrapped FROM audit.subject_key WHERE id = %s", [id_])
        row = cursor.fetchone()
    return unwrapped(row) if row else None


def lookup(person: str) -> dict[str, Any]:
    """The parameters of FIND: under the present SECRET_KEY first, then under earlier ones."""
    return {"codes": [_name_code(secret, person) for secret in _secrets()]}


def new_key(person: str) -> dict[str, Any]:
    """The parameters of MAKE: a new random key for `person`."""
    id_, secret = new_id(), settings.SECRET_KEY
    nonce = os.urandom(NONCE_BYTES)
    wrapped = nonce + _wrapping(secret).encrypt(nonce, os.urandom(KEY_BYTES), id_.bytes)
    return {"id": id_, "code": _name_code(secret, person), "wrapped": wrapped}


def unwrapped(row: Sequence[Any]) -> Subject:
    """The subject in a row of FIND. Raises SubjectKeyUnreadable."""
    id_: UUID = row[0]
    wrapped = bytes(row[1])
    for secret in _secrets():
        try:
            key = _wrapping(secret).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], id_.bytes)
            return Subject(id_, key)
        except InvalidTag:
            continue
    raise SubjectKeyUnreadable(subject=str(id_))


def _secrets() -> tuple[str, ...]:
    return (settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS))


def _name_code(secret: str, person: str) -> bytes:
    """Raises PersonMalformed for half of a surrogate pair, which JSON lets through."""
    try:
        name = person.encode()
    except UnicodeEncodeError:
        raise PersonMalformed from None
    return hmac.digest(_derived(secret, NAMES), name, "sha256")


def _wrapping(secret: str) -> AESGCM:
    return AESGCM(_derived(secret, KEYS))


@functools.lru_cache(maxsize=8)
def _derived(secret: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())
