"""Settings: everything that differs between a laptop and a hospital, read from the environment.

Built once inside a flow or a command, never at import. A variable is named ``CXR_`` plus the field's name in
capitals; the AWS variables keep their usual names. Where none of the variables that name a service is set, the file
that ``cxr up`` writes into its state folder fills in the local stack's addresses and secrets: either the
environment names the services or that file does, never a mix, so that local credentials cannot reach a real store.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

SERVICE_VARIABLES = ("CXR_DATABASE_URL", "CXR_S3_ENDPOINT_URL", "CXR_S3_BUCKET")
OTHER_VARIABLES = ("CXR_HOME", "CXR_CODE_VERSION", "CXR_STACK_HOME")
"""What the code reads by itself: the state folder, an image's version, and the mark on the local stack's processes."""
LOCAL_FILE = "local.env"
CRON_FIELDS = 5
CRON_NAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
DATABASE_FORM = "postgresql://user:password@host:5432/database is its form"


class SettingsError(RuntimeError):
    """A setting is missing or contradicts another; the message names the variable and what to do."""


def home() -> Path:
    """Return the state folder of the local stack (``CXR_HOME``, default ``.cxr`` in the working directory)."""
    return Path(os.environ.get("CXR_HOME", ".cxr")).absolute()


def _split(value: object) -> object:
    """Read a list from a variable: its items are separated by commas."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


Items = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Where the services are and how a night is scored."""

    model_config = SettingsConfigDict(env_prefix="CXR_", extra="ignore", frozen=True, populate_by_name=True)

    # Services
    database_url: SecretStr | None = None
    s3_endpoint_url: str | None = None
    s3_bucket: str | None = None
    aws_access_key_id: SecretStr | None = Field(default=None, validation_alias=AliasChoices("AWS_ACCESS_KEY_ID"))
    aws_secret_access_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("AWS_SECRET_ACCESS_KEY")
    )
    aws_session_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("AWS_SESSION_TOKEN"))
    aws_region: str | None = Field(default=None, validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    prefect_api_url: str | None = Field(default=None, validation_alias=AliasChoices("PREFECT_API_URL"))
    reports_url: str | None = None
    """Address under which the bucket's ``reports/`` folder can be opened in a browser; without one, links are s3://."""

    # Discovery
    prefixes: Items = ["incoming/"]
    """Prefixes to list, separated by commas.

    A date pattern (``incoming/%Y/%m/%d/``) stands for each day of the look-back, %% for a percent sign.
    """
    look_back_days: int = Field(default=3, ge=0)
    skip_suffixes: Items = [".txt", ".csv", ".json", ".xml", ".md", ".html", ".pdf", ".zip", ".gz", ".tmp", ".part"]
    made_prefixes: Items = ["made/"]
    """Objects below these are made data (phantoms), and so are their rows."""
    max_attempts: int = Field(default=3, ge=1)
    """Nights on which a `failed` image is tried by itself, the first one included."""

    # Intake
    max_bytes: int = Field(default=64 * 1024**2, gt=0)
    max_pixels: int = Field(default=64_000_000, gt=0)
    intake_threads: int = Field(default=0, ge=0)
    """0: two more than there are processors."""
    shard_size: int = Field(default=512, gt=0)
    queue_shards: int = Field(default=1, ge=1)
    """Shards read ahead while one is scored, beside the one being read; memory grows with it."""

    # Validation
    max_bad_share_shard: float = Field(default=0.8, ge=0, le=1)
    max_bad_share_run: float = Field(default=0.3, ge=0, le=1)
    bad_share_min_images: int = Field(default=20, ge=1)
    """The two shares above are not judged on fewer images than this."""

    # Inference
    runtime: Literal["auto", "openvino", "openvino-f32", "openvino-bf16", "keras"] = "auto"
    batch_size: int = Field(default=32, gt=0)

    # Report
    explain_highest: int = Field(default=12, ge=0, le=24)
    """Images of the highest scores that get a heat map in a night's report, once it is published; 0: none."""

    # Database
    database_patience_s: float = Field(default=120.0, ge=0)
    """How long a step waits for Postgres to come back before the run fails."""

    # Retraining
    recipes: Items = ["local-patterns", "compact-cnn"]
    """Recipes that a retraining trains as challengers."""
    validation_share: float = Field(default=0.15, gt=0, lt=0.5)
    test_share: float = Field(default=0.15, gt=0, lt=0.5)
    """Shares of new patients; an image that has a split keeps it for ever."""
    promotion: Literal["automatic", "approval"] = "automatic"
    approval_hours: float = Field(default=24.0, gt=0)
    """How long a retraining waits for a person's word; then the champion stays."""
    gate_file: Path | None = None
    """JSON with the gate's rules, instead of the default ones."""
    training_minutes: float | None = Field(default=None, gt=0)
    """For each challenger: no epoch is begun that would not end within it."""
    pretrained: Literal["imagenet", "none"] = "imagenet"
    """What backbones of known networks begin with, where their recipe asks for learned weights."""
    pretrained_dir: Path | None = None
    """Folder with the files of learned weights; without one they are fetched from the internet."""
    retrain_new_labels: int = Field(default=200, ge=0)
    """A night's end asks for a retraining when so many labels are new since the last one; 0: never."""
    retrain_on_drift: bool = True
    drift_images: int = Field(default=1000, ge=1)
    """Images in the reference window (the champion's first ones) and in the current one (the newest) at most."""
    drift_min_images: int = Field(default=200, ge=1)
    drift_threshold: float = Field(default=0.25, gt=0, le=1)
    """Distance between the two windows, 0 to 1, from which it is drift."""

    # Schedule
    timezone: str = "UTC"
    scoring_cron: str = "0 2 * * *"
    retraining_cron: str = "0 10 * * 6"

    # Local stack (`cxr up`)
    host: str = "127.0.0.1"
    postgres_port: Port = 54321
    s3_port: Port = 9021
    prefect_port: Port = 4200
    reports_port: Port = 4280

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("no such time zone; use a name such as Europe/Berlin") from None
        return value

    @field_validator("scoring_cron", "retraining_cron")
    @classmethod
    def _a_time(cls, value: str) -> str:
        # Not with Prefect's own parser: importing it imports Prefect, before it is pointed at its server.
        from cronsim import CronSim, CronSimError

        wrong = "" if value in CRON_NAMES or len(value.split()) == CRON_FIELDS else "bad number of fields"
        try:
            if not wrong and value not in CRON_NAMES:
                CronSim(value, datetime(2000, 1, 1))  # noqa: DTZ001 - only the expression is looked at
            if re.search(r"LW|\dL", value.upper()):
                wrong = "Prefect does not know LW and 5L"
        except CronSimError as error:
            wrong = str(error).lower()
        if wrong:
            raise ValueError(f"{wrong}; it is minute, hour, day, month and day of the week, such as 0 2 * * *")
        return value

    @field_validator("prefixes", "recipes")
    @classmethod
    def _at_least_one(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("nothing is named; give at least one, such as incoming/ or compact-cnn")
        return value

    @field_validator("s3_endpoint_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if not value:
            return None
        try:
            address = urlsplit(value)
            whole = address.scheme in {"http", "https"} and bool(address.hostname) and address.port != 0
        except ValueError:
            whole = False
        if not whole:
            raise ValueError("it must begin with http:// or https:// and name a host, such as http://127.0.0.1:9021")
        return value

    @field_validator("database_url")
    @classmethod
    def _a_database(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse what would be read otherwise than it is meant: part of a password would end up in a host's name."""
        text = value.get_secret_value() if value else ""
        if not text:
            return None
        if not re.match(r"postgres(ql)?(\+\w+)?://", text):
            raise ValueError(f"it must begin with postgresql://; {DATABASE_FORM}")
        if not _one_reading(text):
            raise ValueError(
                f"it cannot be read: {DATABASE_FORM}; percent-encode @ : / ? # in its user name and password"
            )
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the names are pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the local stack's file win where it is read: a developer's own AWS keys do not open the local store."""
        return init_settings, dotenv_settings, env_settings, file_secret_settings

    @classmethod
    def load(cls, *, warn: bool = True) -> Self:
        """Read the environment, or the local stack's file where the environment names no service.

        Args:
            warn: log each ``CXR_`` variable that is no setting, once a process.

        Raises:
            SettingsError: a variable has a value that cannot be used.
        """
        if warn:
            for words in unknown_variables():
                _warn(words)
        named = named_services()
        try:
            return cls() if named else cls(_env_file=home() / LOCAL_FILE, aws_session_token=None)
        except ValidationError as error:
            wrong = "; ".join(
                f"{_variable(str(problem['loc'][0]))}: {problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors(include_input=False)
            )
            raise SettingsError(wrong) from None

    @property
    def bucket(self) -> str:
        """The bucket's name; raises `SettingsError` where none is set."""
        if not self.s3_bucket:
            raise SettingsError(_missing("CXR_S3_BUCKET"))
        return self.s3_bucket

    @property
    def database(self) -> str:
        """The database URL, secret included: for the driver only. Raises `SettingsError` where none is set."""
        if self.database_url is None:
            raise SettingsError(_missing("CXR_DATABASE_URL"))
        return self.database_url.get_secret_value()

    @property
    def cache(self) -> Path:
        """Folder for model artifacts, converted models, decoded images and trainings; safe to delete.

        Below the state folder where one is named or there; else the user's own, because a worker runs each night in
        a new temporary folder and would fetch and convert the model each time. There each database and bucket has
        its own: a retraining removes what is not of its own data set.
        """
        if os.environ.get("CXR_HOME") or home().is_dir():
            return home() / "cache"
        users = Path(os.environ.get("XDG_CACHE_HOME", ""))
        url = urlsplit(self.database_url.get_secret_value() if self.database_url else "")
        owner = f"{url.hostname} {url.port} {url.path} {self.s3_endpoint_url} {self.s3_bucket}"
        named = hashlib.sha256(owner.encode()).hexdigest()[:8]
        return (users if users.is_absolute() else Path.home() / ".cache") / "cxr-nightly" / named


def named_services() -> list[str]:
    """Return the variables in the environment that name a service; with any, the local stack is left out."""
    return [name for name in SERVICE_VARIABLES if os.environ.get(name)]


def unknown_variables() -> list[str]:
    """Say of each ``CXR_`` variable in the environment that is no setting that it is ignored, and which one is near."""
    fields = {f"CXR_{name.upper()}" for name, field in Settings.model_fields.items() if field.validation_alias is None}
    known = sorted(fields | set(OTHER_VARIABLES[:-1]))
    found = []
    for name in sorted(os.environ):
        if name.upper().startswith("CXR_") and name.upper() not in {*known, *OTHER_VARIABLES}:
            near = get_close_matches(name.upper(), known, 1)
            found.append(f"{name} is no setting and is ignored" + (f"; did you mean {near[0]}?" if near else ""))
    return found


@cache
def _warn(words: str) -> None:
    logging.getLogger(__name__).warning("%s", words)


def _one_reading(url: str) -> bool:
    """Tell whether a database URL can be read, and in one way only."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return False
    return url.count("@") <= 1 and "@" not in f"{address.host}{address.database}"


def _variable(field: str) -> str:
    """Return the variable that a validation error is about: pydantic names a field, or its alias."""
    return field.upper() if field.isupper() else f"CXR_{field.upper()}"


def _missing(name: str) -> str:
    return f"{name} is not set and no local stack is running in {home()}: start one with `cxr up`, or set {name}."
