"""The only place that reads environment variables: once, typed, failing with their names."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from audit import key_uris
from countersign import witnesses

ROOT = Path(__file__).resolve().parents[2]

HOST = re.compile(r"(?=.{1,220}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")

BROKERS = ("redis", "rediss", "amqp", "amqps")
Port = Annotated[int, Field(ge=1, le=65_535)]


class Configuration(BaseSettings):
    """Every variable that an operator can set. Sizes are in bytes, times in seconds."""

    model_config = SettingsConfigDict(case_sensitive=True, extra="ignore", frozen=True)

    DATABASE_URL: str = ""
    DATABASE_POOL_SIZE: Annotated[int, Field(ge=0, le=1_000)] = 0
    CELERY_BROKER_URL: str = ""
    SECRET_KEY: Annotated[SecretStr, Field(validate_default=True)] = SecretStr("")
    DEBUG: bool = False
    ALLOWED_HOSTS: Annotated[tuple[str, ...], NoDecode] = (".localhost", "localhost", "127.0.0.1")
    HTTPS: bool = True
    COUNTERSIGN_BASE_DOMAIN: str = "localhost"
    COUNTERSIGN_STATE_DIRECTORY: Path = ROOT / "var"
    COUNTERSIGN_LEDGER_KEY_FILE: Path | None = None
    COUNTERSIGN_LEDGER_KEY_URI: str = ""
    COUNTERSIGN_LEDGER_MLDSA_KEY_FILE: Path | None = None
    COUNTERSIGN_LEDGER_GUARD_DIRECTORY: Path | None = None
    COUNTERSIGN_WITNESSES: str = ""
    COUNTERSIGN_TIMESTAMP_URL: Annotated[str, Field(pattern=r"^(https?://[!-~]+)?$")] = ""
    COUNTERSIGN_TIMESTAMP_AUTHORITY: Path | None = None
    COUNTERSIGN_TIMESTAMP_MINUTES: Annotated[int, Field(ge=1, le=10_080)] = 60
    COUNTERSIGN_CHECKPOINT_SINK: Annotated[str, Field(pattern=r"^((file|s3)://[!-~]+)?$")] = ""
    AWS_ACCESS_KEY_ID: SecretStr = SecretStr("")
    AWS_SECRET_ACCESS_KEY: SecretStr = SecretStr("")
    AWS_SESSION_TOKEN: SecretStr = SecretStr("")
    COUNTERSIGN_EXPORTS_DIRECTORY: Path | None = None
    COUNTERSIGN_ENTERPRISE_NUMBER: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES: bool = False
    COUNTERSIGN_MAX_BODY_BYTES: Annotated[int, Field(ge=1_024)] = 26 * 1024 * 1024
    COUNTERSIGN_MAX_DOCUMENT_BYTES: Annotated[int, Field(ge=1_024)] = 25 * 1024 * 1024
    COUNTERSIGN_SWEEP_SECONDS: Annotated[int, Field(ge=1, le=3_600)] = 5
    COUNTERSIGN_LEASE_SECONDS: Annotated[int, Field(ge=2, le=3_600)] = 30
    COUNTERSIGN_LEDGER_WAIT_SECONDS: Annotated[int, Field(ge=1, le=86_400)] = 300
    COUNTERSIGN_LEDGER_WAIT_IN_PLACE_SECONDS: Annotated[int, Field(ge=1, le=60)] = 10
    PORT: Port = 8000
    OPENAI_API_KEY: SecretStr = SecretStr("")
    OPENAI_BASE_URL: str = "https://api.openai.com/v1"
    OPENAI_MODEL: Annotated[str, Field(min_length=1)] = "gpt-4o-mini"

    @field_validator("ALLOWED_HOSTS", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(filter(None, map(str.strip, value.split(","))))
            if isinstance(value, str)
            else value
        )

    @field_validator("COUNTERSIGN_BASE_DOMAIN")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        name = value.lower().removesuffix(".")
        if not HOST.fullmatch(name):
            raise ValueError("must be a host name, without scheme and port")
        return name

    @field_validator("COUNTERSIGN_STATE_DIRECTORY")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("DATABASE_URL")
    @classmethod
    def _is_postgresql(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"postgresql", "postgres"}:
            raise ValueError("must begin with postgresql://")
        try:
            conninfo_to_dict(value)
        except ProgrammingError as problem:
            raise ValueError("is not a PostgreSQL connection URL") from problem
        return value

    @field_validator("SECRET_KEY")
    @classmethod
    def _is_set_beside_a_database(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("DATABASE_URL") and not value.get_secret_value():
            raise ValueError("must be set when DATABASE_URL is")
        return value

    @field_validator("CELERY_BROKER_URL")
    @classmethod
    def _is_a_broker(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in BROKERS or not urlsplit(value).hostname):
            raise ValueError(f"must be a URL with a host that begins with {' or '.join(BROKERS)}")
        return value

    @field_validator("OPENAI_BASE_URL")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname:
            raise ValueError("must begin with https:// or http:// and name a host")
        return value

    @field_validator(
        "COUNTERSIGN_LEDGER_KEY_FILE",
        "COUNTERSIGN_LEDGER_MLDSA_KEY_FILE",
        "COUNTERSIGN_LEDGER_GUARD_DIRECTORY",
        "COUNTERSIGN_TIMESTAMP_AUTHORITY",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None  # an empty path would be the working directory

    @field_validator("COUNTERSIGN_LEDGER_KEY_URI")
    @classmethod
    def _names_a_key(cls, value: str) -> str:
        if value:
            key_uris.parsed(value)
        return value

    @field_validator("COUNTERSIGN_WITNESSES")
    @classmethod
    def _are_witnesses(cls, value: str) -> str:
        if not value.startswith("file:///"):
            witnesses.parsed(value)
        return value

    @model_validator(mode="after")
    def _has_whole_pairs(self) -> Self:
        url, authority = self.COUNTERSIGN_TIMESTAMP_URL, self.COUNTERSIGN_TIMESTAMP_AUTHORITY
        if bool(url) != bool(authority):
            raise ValueError(
                "COUNTERSIGN_TIMESTAMP_URL and COUNTERSIGN_TIMESTAMP_AUTHORITY need each other"
            )
        return self

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if self.COUNTERSIGN_LEDGER_KEY_URI and self.COUNTERSIGN_LEDGER_KEY_FILE:
            raise ValueError(
                "COUNTERSIGN_LEDGER_KEY_URI and COUNTERSIGN_LEDGER_KEY_FILE exclude each other: set"
                " the one that names the key which signs"
            )
        return self

    @property
    def broker_directory(self) -> Path:
        """Where the embedded queue (kombu's filesystem transport) keeps its messages."""
        return self.COUNTERSIGN_STATE_DIRECTORY / "queue"

    @property
    def ledger_key_file(self) -> Path:
        """The file that holds the key which signs checkpoints."""
        return self.COUNTERSIGN_LEDGER_KEY_FILE or self.COUNTERSIGN_STATE_DIRECTORY / "ledger.key"

    @property
    def ledger_guard_directory(self) -> Path:
        """The folder that remembers what was signed last, apart from the database."""
        named = self.COUNTERSIGN_LEDGER_GUARD_DIRECTORY
        return named or self.COUNTERSIGN_STATE_DIRECTORY / "ledger-guard"

    @property
    def exports_directory(self) -> Path:
        """The folder that exports are made in and downloaded from."""
        return self.COUNTERSIGN_EXPORTS_DIRECTORY or self.COUNTERSIGN_STATE_DIRECTORY / "exports"

    def secret_key(self) -> str:
        """SECRET_KEY, or with the embedded server one that is generated once into a 0600 file."""
        return self.SECRET_KEY.get_secret_value() or generated_secret(
            self.COUNTERSIGN_STATE_DIRECTORY / "secret_key"
        )


def generated_secret(path: Path) -> str:
    """The secret in `path` (mode 0600), made of 50 random bytes when the file does not exist.

    It is linked into place whole, so that nobody who starts at the same time reads half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(
                os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w"
            ) as file:
                file.write(secrets.token_urlsafe(50))
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft)
        finally:
            draft.unlink(missing_ok=True)
    return path.read_text()


def read() -> Configuration:
    """The configuration of this process.

    Raises ImproperlyConfigured with the name of each variable that is wrong.
    """
    try:
        return Configuration()
    except ValidationError as problem:
        lines = [
            f"{'.'.join(map(str, e['loc'])) or 'environment'}: {e['msg']}" for e in problem.errors()
        ]
        raise ImproperlyConfigured("\n".join(["The environment is not usable:", *lines])) from None
