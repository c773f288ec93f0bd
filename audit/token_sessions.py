"""The only place that opens a session with a PKCS #11 token (OASIS): its module, token and PIN.

A module, the library that speaks for tokens, is told that one thread calls it at a time, has one
state in a process, and may see a token that came back only when it is started anew. Hence one lock,
one session a module, and any error ends the session: who asks next begins from nothing.
MUST NOT be used on both sides of a fork, which would share what the module knows of its session;
MUST NOT try a PIN again that was refused: a token locks itself after a few.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import PKCS11Error, TokenFlag

from audit.key_uris import KeyUri
from audit.signing import LedgerKeyUnusable

REFUSED = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange)
LAST_TRY = TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED
NO_TOKEN = (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised)

_turn = threading.RLock()
_modules: dict[Path, tuple[int, Any]] = {}
"""Each module that was loaded, and the process that did."""
_sessions: dict[Path, pkcs11.Session] = {}
"""The session that each module has now."""


class Token:
    """The token that `uri` names. Threads may share it."""

    def __init__(self, uri: KeyUri) -> None:
        self._uri = uri
        self._session: pkcs11.Session | None = None
        self._refused: tuple[int, int] | None = None

    @contextlib.contextmanager
    def speaking(self, *, within: pkcs11.Session | None = None) -> Iterator[pkcs11.Session]:
        """The session, opened if there is none, for one thread at a time; `within`: that or none.

        Whatever fails in here ends the session. Raises LedgerKeyUnusable.
        """
        if _modules.get(self._uri.module, (os.getpid(),))[0] != os.getpid():
            raise self.unusable("this process was forked from one that uses the token")
        with _turn:
            is_open = _sessions.get(self._uri.module) is self._session is not None
            if within is not None and not (is_open and within is self._session):
                # A handle of a session that has ended may be another key's by now.
                raise self.unusable("the session with its token has ended")
            with self._ending():
                yield self._session if is_open and self._session else self._open()

    def unusable(self, reason: str) -> LedgerKeyUnusable:
        """The problem that names the keys, and this reason."""
        return LedgerKeyUnusable(place=self._uri.place, reason=reason)

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except LedgerKeyUnusable:
            self._end()
            raise
        # ValueError: what the package makes of an answer that PKCS #11 does not have.
        except (PKCS11Error, ValueError) as problem:
            self._end()
            said = f"{type(problem).__name__} {problem}".strip()
            raise self.unusable(f"the token's module says {said}") from problem

    def _open(self) -> pkcs11.Session:
        """1. Read the PIN. 2. Start the module anew. 3. Find the token. 4. Log in."""
        pin, stamp = self._pin()
        token = self._token(self._start())
        if token.flags & LAST_TRY:
            raise self.unusable(
                "the token's PIN is locked, or would be after one more that is wrong: log in by"
                " hand, or let the token's security officer set it anew"
            )
        try:
            self._session = token.open(rw=True, user_pin=pin)
        except REFUSED:
            self._refused = stamp
            raise self.unusable(self._refusal()) from None
        _sessions[self._uri.module] = self._session
        return self._session

    def _pin(self) -> tuple[str, tuple[int, int]]:
        """The PIN, and what tells whether its file is another than before."""
        path = self._uri.pin_file
        try:
            with path.open("rb") as file:
                found, content = os.fstat(file.fileno()), file.read()
        except OSError as problem:
            raise self.unusable(f"{path} can't be read: {problem.strerror}") from None
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise self.unusable(f"others may read {path}; set its mode to 0600")
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp == self._refused:
            raise self.unusable(self._refusal())
        pin = content.decode(errors="replace").removesuffix("\n")
        if not pin.isprintable() or not pin or "\N{REPLACEMENT CHARACTER}" in pin:
            raise self.unusable(f"{path} does not hold a PIN: one line of UTF-8")
        return pin, stamp

    def _refusal(self) -> str:
        return (
            f"the token refuses the PIN in {self._uri.pin_file}, which is not tried again until"
            " that file is written anew"
        )

    def _start(self) -> Any:
        module = self._uri.module
        if not module.is_file():
            raise self.unusable(f"there is no module {module}; install it, or correct module-path")
        self._end()
        library = pkcs11.lib(str(module))
        _modules[module] = (os.getpid(), library)
        return library

    def _end(self) -> None:
        _sessions.pop(self._uri.module, None)
        self._session = None
        if self._uri.module in _modules:
            with contextlib.suppress(PKCS11Error):  # it may be the module that failed
                _modules[self._uri.module][1].finalize()

    def _token(self, library: Any) -> pkcs11.Token:
        found = [token for token in _tokens(library) if self._is_named(token)]
        if not found:
            raise self.unusable(f"its module shows no such token; is {self._uri.token} there?")
        if len(found) > 1:
            raise self.unusable("its module shows several such tokens; name the serial too")
        return found[0]

    def _is_named(self, token: pkcs11.Token) -> bool:
        said = {
            "token": token.label,
            "serial": token.serial.decode(errors="replace"),
            "model": token.model,
            "manufacturer": token.manufacturer_id,
        }
        return said == {**said, **self._uri.told, "token": self._uri.token}


def _tokens(library: Any) -> Iterator[pkcs11.Token]:
    for slot in library.get_slots(token_present=True):
        with contextlib.suppress(*NO_TOKEN):
            yield slot.get_token()
