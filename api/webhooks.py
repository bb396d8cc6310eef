"""Webhook addresses: whoever has one may post to it, so it is shown by its host alone and kept sealed."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from api.lookout import RULE
from api.settings import Settings
from api.vault import CredentialsLost, Vault
from ingest.errors import Busy, Invalid, NotFound, SourceUnavailable
from ingest.fetch import basic
from ingest.guard import Guard, unreadable
from ingest.questions import Rule
from ingest.sources import MASK
from memory.store import Store

_ADDRESS: Final = re.compile(r"https?://[^\s/]+(/\S*)?")


class Webhooks:
    """Takes the addresses of rules in and gives them out whole for a call, and for nothing else."""

    def __init__(self, store: Store, vault: Vault, guard: Guard, settings: Settings) -> None:
        self._store = store
        self._vault = vault
        self._guard = guard
        self._blindness = settings.blind_webhook

    def check(self, url: str) -> None:
        """Refuses at once what would be refused when it is called, each time anew. A name that is not known just now
        may be known then. What is refused is not repeated: it may hold a secret."""
        if not url:
            return
        if MASK in url:
            raise Invalid(
                "This webhook address is masked, and not the one that the rule has.",
                advice="Give the whole address, or leave it out to keep what is there.",
            )
        if not _ADDRESS.fullmatch(url):
            raise Invalid("The webhook is not a web address.", advice="Use http:// or https://.")
        with contextlib.suppress(SourceUnavailable):
            self._guard.url(url)

    def kept(self, rule: Rule, url: str) -> Rule:
        """`rule` with `url` for its webhook. Raises `Invalid` or `SourceRefused` for what cannot be called."""
        self.check(url)
        return self._sealed(rule, url)

    def same(self, rule: Rule, before: Rule) -> Rule:
        """`rule` with the webhook that it had. Raises `CredentialsLost` when that can no longer be read."""
        self._vault.open(before.address, before.id)
        return replace(rule, webhook=before.webhook, address=before.address)

    def call(self, rule: str) -> tuple[str, dict[str, str]]:
        """The address that is called for alerts of the rule with this id, and its login as headers.

        Raises `NotFound` when the rule or its webhook is gone, `CredentialsLost` when the address cannot be read.
        """
        whole = self._blindness.get_secret_value() if rule == RULE else self._opened(self._store.rules.get(rule))
        if not whole:
            raise NotFound("The rule has no webhook any more.", advice="Give it one.")
        try:
            parts = urlsplit(whole)
        except ValueError as error:
            raise unreadable(error) from error
        login, _, place = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        return urlunsplit(parts._replace(netloc=place)), basic(unquote(username), unquote(password))

    def _opened(self, rule: Rule) -> str:
        return self._vault.open(rule.address, rule.id) or rule.webhook

    def lost(self) -> str:
        """Which rules tell nobody because their address cannot be read, in words, with what to do; empty for none."""
        names, advice = [], ""
        for rule in self._store.rules.all():
            try:
                self._vault.open(rule.address, rule.id)
            except (CredentialsLost, Invalid) as error:
                names.append(rule.name)
                advice = f"{error} {error.advice}"
        return f"Nobody is told of {', '.join(names)}. {advice}" if names else ""

    def seal_all(self) -> None:
        """Addresses that an earlier version kept in the clear are sealed, and the old bytes leave the disk."""
        clear = [rule for rule in self._store.rules.all() if not rule.address and shown(rule.webhook) != rule.webhook]
        for rule in clear:
            self._store.rules.save(self._sealed(rule, rule.webhook))
        if clear:
            with contextlib.suppress(Busy):  # whoever reads the old bytes had them before; they go with the last reader
                self._store.database.scrub()

    def _sealed(self, rule: Rule, url: str) -> Rule:
        told = shown(url)
        return replace(rule, webhook=told, address=self._vault.seal(url, rule.id) if told != url else "")


def shown(url: str) -> str:
    """Scheme and host; whatever else there is may be a secret: a login, a token in the path or behind it."""
    try:
        parts = urlsplit(url)
    except ValueError:  # kept by a version that did not look
        return MASK
    if not url or not parts.netloc:
        return url and MASK
    login, _, place = parts.netloc.rpartition("@")
    path = f"/{MASK}" if parts.path.strip("/") or parts.query or parts.fragment else parts.path
    return urlunsplit((parts.scheme, f"{MASK}@{place}" if login else place, path, "", ""))
