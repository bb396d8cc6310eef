"""Credentials at rest: AES-256-GCM, bound to their owner, under a key that lies beside the database or elsewhere."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from ingest.errors import Denied, Invalid

_BYTES: Final = 32
_NONCE: Final = 12
_VERSION: Final = "v1"


class CredentialsLost(Denied):
    """What was sealed cannot be opened with the key that there is."""

    code = "credentials-lost"


class Vault:
    """Seals texts and opens them. Without a key of its own it makes one, readable by this user alone."""

    def __init__(self, file: Path) -> None:
        """`file` holds 32 bytes in base64, and is made when it is missing and something is to be sealed."""
        self._file = file
        self._key: bytes | None = None

    def seal(self, text: str, owner: str) -> str:
        """`text` as only this key opens it, and only for `owner`. Nothing stays nothing."""
        if not text:
            return ""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key, nonce = self._held(make=True), secrets.token_bytes(_NONCE)
        sealed = nonce + AESGCM(key).encrypt(nonce, text.encode(), owner.encode())
        return f"{_VERSION}:{_name(key)}:{base64.b64encode(sealed).decode()}"

    def open(self, sealed: str, owner: str) -> str:
        """Raises `CredentialsLost` when it was sealed with another key, for another owner, or was damaged, and when
        there is no key: none is made that could open nothing."""
        if not sealed:
            return ""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        version, _, rest = sealed.partition(":")
        name, _, body = rest.partition(":")
        key = self._held(make=False)
        if version != _VERSION or name != _name(key):
            raise _lost(f"they were sealed with another key ({name[:8]}, not {_name(key)})")
        try:
            data = base64.b64decode(body, validate=True)
            text: bytes = AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], owner.encode())
            return text.decode()
        except (InvalidTag, ValueError) as error:
            raise _lost("they are damaged") from error

    def _held(self, *, make: bool) -> bytes:
        if self._key is None:
            if not make and not self._file.exists():
                raise _lost(f"the key they were sealed with is gone ({self._file})")
            try:
                self._key = _decoded(self._read())
            except (OSError, UnicodeDecodeError) as error:
                raise Invalid(
                    f"The key for credentials cannot be read or made: {error}.",
                    advice="See who may read it, and where HINDSIGHT_VAULT_KEY_FILE points.",
                ) from error
        return self._key

    def _read(self) -> str:
        try:
            handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            with suppress(OSError):  # whoever else owns it has decided who reads it
                self._file.chmod(0o600)
            return self._file.read_text()
        with os.fdopen(handle, "w") as file:
            key = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        return key


def _decoded(text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _BYTES:
        raise Invalid(
            "The key for credentials is not 32 bytes in base64.", advice="Make one with: openssl rand -base64 32"
        )
    return key


def _name(key: bytes) -> str:
    """Eight digits by which a key is known and not guessed."""
    return hashlib.sha256(b"hindsight vault" + key).hexdigest()[:8]


def _lost(why: str) -> CredentialsLost:
    return CredentialsLost(
        f"The credentials cannot be read: {why}.",
        advice="Put the key back that was there before, or give the credentials again: of a webhook the whole address.",
    )
