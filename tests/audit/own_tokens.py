"""The only place that makes PKCS #11 tokens for tests: SoftHSM's, in a folder of the test's own.

SoftHSM reads where its tokens are when it is started, which a TokenKeyring does whenever it opens a
session; so each test has tokens of its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from audit import key_uris, token_sessions
from audit.key_uris import KeyUri

LABEL = "countersign-ledger"
ED25519 = bytes.fromhex("06032b6570")
MODULES = [
    Path(folder) / "softhsm" / "libsofthsm2.so"
    for folder in ("/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
] + [Path("/usr/lib64/pkcs11/libsofthsm2.so"), Path("/usr/local/lib/softhsm/libsofthsm2.so")]


def need_softhsm() -> Path:
    """SoftHSM's module; skips the test where it is not installed, and fails it there in CI."""
    module = next((path for path in MODULES if path.is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        missing = "SoftHSM (softhsm2) is not installed, so there is no PKCS #11 token to test with"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return module


class SoftToken(NamedTuple):
    """A token, the file of its PIN, and the folder that both are in."""

    folder: Path
    module: Path
    label: str
    pin: str

    @property
    def pin_file(self) -> Path:
        return self.folder / f"{self.label}.pin"

    def write_pin(self) -> None:
        self.pin_file.write_text(f"{self.pin}\n")

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    def uri(self, *, label: str = LABEL, **changed: str) -> str:
        """The setting that names the keys of `label` in this token."""
        path = {"token": self.label, "object": label} | changed
        said = ";".join(f"{name}={quote(value, safe='')}" for name, value in path.items())
        return (
            f"pkcs11:{said}?module-path={self.module}&pin-source=file:{quote(str(self.pin_file))}"
        )

    def parsed(self, **how: str) -> KeyUri:
        return key_uris.parsed(self.uri(**how))

    def vanish(self) -> None:
        """All tokens of the module are gone."""
        self.tokens.rename(self.folder / "gone")

    def return_(self) -> None:
        """They are back as they were."""
        (self.folder / "gone").rename(self.tokens)

    @contextmanager
    def session(self) -> Iterator[pkcs11.Session]:
        """What somebody else who has the PIN can do; the product's own session ends."""
        token_sessions.Token(self.parsed())._end()
        library = pkcs11.lib(str(self.module))
        found = [slot.get_token() for slot in library.get_slots(token_present=True)]
        (token,) = [each for each in found if each.label == self.label]
        try:
            yield token.open(rw=True, user_pin=self.pin)
        finally:
            library.finalize()

    def bring(self, *, id_: bytes, label: str = LABEL, **private: bool) -> None:
        """A key that its operator made."""
        with self.session() as session:
            curve = session.create_domain_parameters(
                KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: ED25519}, local=True
            )
            curve.generate_keypair(
                mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                id=id_,
                label=label,
                store=True,
                private_template={Attribute[name.upper()]: on for name, on in private.items()},
            )

    def count(self, kind: ObjectClass) -> int:
        with self.session() as session:
            return len(list(session.get_objects({Attribute.CLASS: kind})))


def softhsm(folder: Path) -> Path:
    """An empty place for tokens in `folder`; its configuration is that of this process now."""
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    return configuration


def make_token(folder: Path, *, label: str = "ledger") -> SoftToken:
    """A token in the place for tokens in `folder`, with a PIN of its own."""
    made = SoftToken(folder, need_softhsm(), label, f"pin-{secrets.token_hex(8)}")
    pins = ["--so-pin", "so-of-the-tests", "--pin", made.pin]
    done: Any = subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, *pins],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made.pin_file.touch(mode=0o600)
    made.write_pin()
    return made
