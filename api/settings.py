"""Every knob, and the only reader of the environment: HINDSIGHT_DATA, HINDSIGHT_PORT, …"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from api.times import zone_named
from ingest.errors import Invalid
from ingest.guard import Private
from ingest.languages import language
from ingest.sampling import Sampling, policy
from memory.store import StreamSettings


class Settings(BaseSettings):
    """What can be set, each by a variable or, for some, on the command line."""

    model_config = SettingsConfigDict(env_prefix="HINDSIGHT_", frozen=True, extra="ignore")

    data: Path = Field(Path("~/.local/share/hindsight"), description="Folder for everything that is remembered.")
    host: str = Field("127.0.0.1", description="Address to listen on. Beyond loopback only with a key.")
    port: int = Field(8765, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    key: SecretStr = Field(SecretStr(""), description="Key that every request must carry; empty for none on loopback.")
    allowed_hosts: list[str] = Field([], description="Names, besides localhost and addresses, this service answers to.")
    timezone: str = Field("UTC", description="Time zone of times without one, such as Europe/Berlin.")

    profile: str = Field("embedded", description="Named choice of models: embedded or standard.")
    threshold: float | None = Field(None, ge=0, le=1, description="Least probability of a hit; the profile's if unset.")
    system: str = Field("", description="What writes the answers, see `hindsight models list`; the profile's if empty.")
    system_folder: Path | None = Field(
        None, description="Folder of its files; models/NAME in the data folder if unset."
    )
    system_dtype: str = Field("auto", description="Its numbers: auto, float32, bfloat16, float16; int8 or nf4.")
    llm_url: str = Field("", description="Base URL of an OpenAI-compatible endpoint that writes the answers.")
    llm_model: str = Field("", description="Name of the model at that endpoint.")
    llm_key: SecretStr = Field(SecretStr(""), description="Key for that endpoint.")

    roots: list[Path] = Field([Path("~"), Path()], description="Folders that video files may be read from.")
    networks: list[str] = Field([], description="Networks (CIDR) granted: what is in them may be reached.")
    private: Private = Field(
        "named",
        description="Private addresses that may be reached: named, where a person names the host; or granted, within "
        "HINDSIGHT_NETWORKS alone.",
    )
    vault_key_file: Path | None = Field(
        None, description="File of the key that credentials are sealed with; vault.key in the data folder if unset."
    )
    webhook_secret: SecretStr = Field(SecretStr(""), description="Signs webhooks with HMAC-SHA256 when set.")

    sampling: str = Field("motion", description="Sampling policy: motion, adaptive, scene, rate, keys; see `add`.")
    sample_floor_hz: float = Field(0.5, gt=0, le=60, description="Frames per second that are always looked at.")
    sample_ceiling_hz: float = Field(4.0, gt=0, le=60, description="Frames per second looked at while things move.")
    sample_side: int = Field(640, ge=64, le=4096, description="Longest side, in pixels, of frames looked at.")
    audio: bool = Field(True, description="Listen to the sound track.")
    language: str = Field(
        "",
        pattern="^([a-z]{2,3})?$",
        description="Language that is spoken, such as de or deu. Detected by Whisper if empty.",
    )
    blind_alert_s: float | None = Field(
        None,
        gt=0,
        description="Seconds without a picture, or with a frozen or dark one, that raise an alert; none if unset.",
    )
    blind_webhook: SecretStr = Field(SecretStr(""), description="URL that such alerts are sent to.")
    record: bool = Field(True, description="Record live streams, so that moments can be played.")
    recordings: SecretStr = Field(
        SecretStr(""),
        description="Where finished recordings go: a folder that exists, or a URL of fsspec such as s3://bucket/house; "
        "the data folder if empty.",
    )
    fetched_mb: int = Field(2048, ge=0, description="Most disk for recordings of there that are kept here too, in MB.")

    keep_recordings_hours: float = Field(72, gt=0, description="How long recordings of live streams are kept.")
    keep_events_hours: float = Field(168, ge=0, description="How long at least, where something came, went or changed.")
    keep_alerts_hours: float = Field(720, ge=0, description="How long at least, around an alert.")
    recordings_budget_mb: int = Field(
        0, ge=0, description="Most recordings per stream, in MB, whatever their age; 0 is without bound."
    )
    memory_budget_mb: int = Field(
        4000, ge=0, description="Most memory per stream, in MB, recordings not counted; 0 is without bound."
    )
    recollections_mb: int = Field(
        1000, ge=0, description="Most per stream, in MB, of what MA-LMM itself remembers of chapters; 0 keeps none."
    )
    database: str = Field("", description="SQLAlchemy URL; a SQLite file in the data folder if empty.")
    upload_limit_gb: float = Field(64, gt=0, description="Largest upload.")
    clip_cache_mb: int = Field(2048, ge=0, description="Most disk for clips that were cut, in MB.")
    log_level: Literal["critical", "error", "warning", "info", "debug"] = Field(
        "info", description="How much is logged."
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            zone_named(value)
        except Invalid as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("language")
    @classmethod
    def _short(cls, value: str) -> str:
        return value and language(value)

    @field_validator("sampling")
    @classmethod
    def _known_policy(cls, value: str) -> str:
        try:
            policy(value, Sampling())
        except Invalid as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            ipaddress.ip_network(network, strict=False)  # its ValueError says what is wrong
        return value

    @field_validator("database")
    @classmethod
    def _database_url(cls, value: str) -> str:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            return value and make_url(value).render_as_string(hide_password=False)
        except ArgumentError:
            raise ValueError("this is not a database URL; it is written like sqlite:////data/hindsight.db") from None

    @model_validator(mode="after")
    def _floor_below_ceiling(self) -> Self:
        if self.sample_floor_hz > self.sample_ceiling_hz:
            raise ValueError("HINDSIGHT_SAMPLE_FLOOR_HZ is above HINDSIGHT_SAMPLE_CEILING_HZ")
        return self

    @model_validator(mode="after")
    def _private_or_locked(self) -> Self:
        if not self.key.get_secret_value() and not is_loopback(self.host):
            raise ValueError(
                f"listening on {self.host} without a key would let anyone on the network watch. "
                "Set HINDSIGHT_KEY, or listen on 127.0.0.1."
            )
        return self

    @property
    def folder(self) -> Path:
        return self.data.expanduser().absolute()

    @property
    def readable(self) -> tuple[Path, ...]:
        """Where files may be read: the roots, and what was uploaded."""
        return (*(root.expanduser().absolute() for root in self.roots), self.folder / "uploads")

    @property
    def key_file(self) -> Path:
        """Where the key for credentials is."""
        return (self.vault_key_file or self.folder / "vault.key").expanduser().absolute()

    def folder_of(self, system: str) -> Path:
        """Where the files of a video-language system are."""
        return (self.system_folder or self.folder / "models" / system).expanduser().absolute()

    @property
    def usual(self) -> StreamSettings:
        """What is in force of a stream that has nothing of its own."""
        values = {name: getattr(self, name) for name in StreamSettings.__slots__}
        return StreamSettings(**values | {"language": self.language or None})

    @property
    def zone(self) -> ZoneInfo:
        return zone_named(self.timezone)

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def load(**overrides: object) -> Settings:
    """Settings from the environment; `overrides` that are not None win. Raises `Invalid` in words for a person."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]  # pydantic checks them
    except SettingsError as error:
        raise Invalid(f"{error}.", advice="Lists are written as JSON: '[\"/videos\"]'.") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = "HINDSIGHT_" + "_".join(str(part) for part in first["loc"]).upper() if first["loc"] else "Settings"
        message = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"{name}: {message}", advice="See `hindsight serve --help`.") from error


def disinherit() -> None:
    """What this process starts from now on gets none of these variables: there are keys and addresses among them."""
    prefix = Settings.model_config["env_prefix"]
    for name in [name for name in os.environ if name.upper().startswith(prefix)]:
        del os.environ[name]


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
