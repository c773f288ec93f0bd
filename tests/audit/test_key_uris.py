"""The only place that tests how an operator names a key in a PKCS #11 token."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from audit import key_uris
from countersign import configuration

SETTING = "COUNTERSIGN_LEDGER_KEY_URI"
MODULE = "module-path=/usr/lib/softhsm/libsofthsm2.so"
PIN = "pin-source=file:/etc/countersign/pin"
WHOLE = f"pkcs11:token=ledger;object=countersign-ledger?{MODULE}&{PIN}"
SECRET = "482913"


def test_a_uri_names_labels_module_and_the_file_of_the_pin() -> None:
    found = key_uris.parsed(WHOLE)
    assert (found.token, found.label, found.told) == ("ledger", "countersign-ledger", {})
    assert found.module == Path("/usr/lib/softhsm/libsofthsm2.so")
    assert found.pin_file == Path("/etc/countersign/pin")
    assert found.place == "pkcs11:token=ledger;object=countersign-ledger"


def test_values_are_percent_decoded_and_the_token_may_be_told_more_closely() -> None:
    found = key_uris.parsed(
        "pkcs11:model=SoftHSM%20v2;serial=00ff;manufacturer=A%3BB&C;object=c%C3%A9;token=a%25b"
        "?pin-source=file:///etc/a%26b&module-path=/opt/lib%20x.so"
    )
    assert (found.token, found.label) == ("a%b", "cé")
    assert found.told == {"model": "SoftHSM v2", "serial": "00ff", "manufacturer": "A;B&C"}
    assert found.pin_file == Path("/etc/a&b")
    assert found.module == Path("/opt/lib x.so")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("/etc/countersign/ledger.key", "must be a PKCS #11 URI"),
        ("PKCS11:token=a", "must be a PKCS #11 URI"),
        ("pkcs11:", "must name token and object and module-path and pin-source too"),
        (f"pkcs11:token=a?{MODULE}&{PIN}", "must name object too"),
        (f"pkcs11:token=a;object=b?{PIN}", "must name module-path too"),
        (f"pkcs11:token=a;object=b?{MODULE}", "must name pin-source too"),
        (f"pkcs11:token=a;token=b;object=c?{MODULE}&{PIN}", "names token twice"),
        (f"{WHOLE}&{PIN}", "names pin-source twice"),
        (f"pkcs11:token=a;object=b;type=private?{MODULE}&{PIN}", "has type where it may hold"),
        (f"pkcs11:token=a;object=b;slot-id=3?{MODULE}&{PIN}", "has slot-id where"),
        (f"pkcs11:token=a;object=b;?{MODULE}&{PIN}", "has a part where it may hold"),
        (f"{WHOLE}&module-name=softhsm2", "has module-name where it may hold module-path"),
        (f"{WHOLE}&{SECRET}", "has a part where it may hold module-path, pin-source"),
        (f"pkcs11:token=;object=b?{MODULE}&{PIN}", "no value for token that RFC 7512 allows"),
        (f"pkcs11:token=a b;object=b?{MODULE}&{PIN}", "no value for token that RFC 7512"),
        (f"pkcs11:token=a/b;object=b?{MODULE}&{PIN}", "no value for token that RFC 7512"),
        (f"pkcs11:token=a%2;object=b?{MODULE}&{PIN}", "percent-encode it"),
        (f"{WHOLE}#fragment", "no value for pin-source that RFC 7512 allows"),
        (f"pkcs11:token=%FF;object=b?{MODULE}&{PIN}", "a value for token that is not UTF-8"),
        (f"pkcs11:token=a%00;object=b?{MODULE}&{PIN}", "a control character in the value for"),
        (f"pkcs11:token=a;object=b?module-path=libsofthsm2.so&{PIN}", "by an absolute path"),
        (f"pkcs11:token=a;object=b?{MODULE}&pin-source={SECRET}", "must name a file that holds"),
        (f"pkcs11:token=a;object=b?{MODULE}&pin-source=file:pin", "must name a file that holds"),
        (f"pkcs11:token=a;object=b?{MODULE}&pin-source=file://host/pin", "on this machine"),
        (f"pkcs11:token=a;object=b?{MODULE}&pin-source=%7C/bin/pin", "must name a file that"),
        (f"pkcs11:token=a;object=b?{MODULE}&pin-value={SECRET}", "must not hold pin-value"),
        (f"{WHOLE}&pin-value={SECRET}", "write the PIN into a file with mode 0600"),
        (f"pkcs11:token=a;object=b;pin-value={SECRET}?{MODULE}&{PIN}", "must not hold pin-value"),
    ],
)
def test_what_is_missing_unknown_or_malformed_is_refused_at_boot_with_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, uri: str, said: str
) -> None:
    monkeypatch.setenv(SETTING, uri)
    with pytest.raises(ImproperlyConfigured) as refused:
        configuration.read()
    message = str(refused.value)
    assert f"{SETTING}: " in message
    assert said in message
    assert SECRET not in message


def test_a_file_and_a_token_are_not_both_the_place_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SETTING, WHOLE)
    assert configuration.read().COUNTERSIGN_LEDGER_KEY_URI == WHOLE
    monkeypatch.setenv("COUNTERSIGN_LEDGER_MLDSA_KEY_FILE", "/etc/countersign/mldsa.key")
    assert configuration.read().COUNTERSIGN_LEDGER_KEY_URI == WHOLE
    monkeypatch.setenv("COUNTERSIGN_LEDGER_KEY_FILE", "/etc/countersign/ledger.key")
    with pytest.raises(ImproperlyConfigured, match=rf"{SETTING} and COUNTERSIGN_LEDGER_KEY_FILE"):
        configuration.read()
