"""The only place for what keeps secrets at rest secret."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from cast import Cast

from tenants import encryption, isolation
from tenants.encryption import Secret, SecretUnreadable
from tenants.isolation import NoTenant

KEY = "sk-ünïcode-0123456789"


def test_a_secret_opens_as_it_was_sealed(acme: Cast) -> None:
    assert encryption.open(encryption.seal(KEY)) == KEY
    assert encryption.open(memoryview(encryption.seal(""))) == ""


def test_a_sealed_secret_shows_nothing_and_never_looks_the_same(acme: Cast) -> None:
    sealed = {encryption.seal(KEY) for _ in range(20)}
    assert len(sealed) == 20
    assert not any(KEY.encode() in one for one in sealed)


def test_a_secret_of_acme_does_not_open_in_globex(acme: Cast, globex: Cast) -> None:
    sealed = encryption.seal(KEY)
    with isolation.acting_for(globex.tenant), pytest.raises(SecretUnreadable):
        encryption.open(sealed)


def test_outside_a_tenant_nothing_is_sealed_or_opened(acme: Cast) -> None:
    sealed = encryption.seal(KEY)
    with isolation.outside_tenants():
        with pytest.raises(NoTenant):
            encryption.seal(KEY)
        with pytest.raises(NoTenant):
            encryption.open(sealed)


def test_a_single_flipped_bit_is_noticed(acme: Cast) -> None:
    sealed = encryption.seal("k")
    for place in range(len(sealed)):
        broken = bytearray(sealed)
        broken[place] ^= 1
        with pytest.raises(SecretUnreadable):
            encryption.open(bytes(broken))


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + b"0" * 12, b"\x02" + b"0" * 40])
def test_what_was_never_sealed_does_not_open(acme: Cast, sealed: bytes) -> None:
    with pytest.raises(SecretUnreadable):
        encryption.open(sealed)


def test_the_key_can_be_rotated_and_an_unknown_key_opens_nothing(acme: Cast, settings: Any) -> None:
    old = settings.SECRET_KEY
    sealed = encryption.seal(KEY)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new key", [old]
    assert encryption.open(sealed) == KEY
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(SecretUnreadable) as told:
        encryption.open(sealed)
    assert KEY not in f"{told.value} {told.value.details}"


def test_a_secret_hides_itself_in_every_display() -> None:
    secret = Secret(KEY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{[secret]}", f"{secret:}"]
    assert not any(KEY in text for text in shown)
    assert secret.reveal() == KEY
    assert secret == Secret(KEY)
    assert secret != Secret("other")
    assert secret != KEY


def test_a_secret_is_neither_pickled_nor_copied_through_pickle() -> None:
    for leak in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(Secret(KEY))
