"""Settings: everything that differs between a laptop and a hospital, read from the environment.

Settings are read once inside a flow or a command, never at import. A variable is named ``CXR_`` plus the field's name
in capitals; the AWS variables keep their usual names. If no variable names a service, the addresses and secrets of the
local stack come from the file that ``cxr up`` writes into its state folder. Either the environment names the services
or that file does, never both, so that local credentials cannot reach a real store.
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
NON_FIELD_VARIABLES = ("CXR_HOME", "CXR_CODE_VERSION", "CXR_STACK_HOME")
"""Variables that are no fields: the state folder, a container image's code version, the mark of the stack's processes.
"""
LOCAL_STACK_FILE = "local.env"
CRON_FIELDS = 5
CRON_NAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
DATABASE_FORM = "the form is postgresql://user:password@host:5432/database"


class SettingsError(RuntimeError):
    """A setting is missing or invalid; the message names the variable and says what to do."""


def state_folder() -> Path:
    """Return the state folder of the local stack (``CXR_HOME``, default ``.cxr`` in the working directory)."""
    return Path(os.environ.get("CXR_HOME", ".cxr")).absolute()


def _split(value: object) -> object:
    """Split a variable's text at commas."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


CommaList = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """The services' addresses, and how nights and retrainings run."""

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
    """URL of the bucket's ``reports/`` folder for browsers; None makes links start with s3://."""

    # Discovery
    prefixes: CommaList = ["incoming/"]
    """Prefixes to list, separated by commas.

    A date pattern (``incoming/%Y/%m/%d/``) stands for each of the last `look_back_days` days, %% for a percent sign.
    """
    look_back_days: int = Field(default=3, ge=0)
    skip_suffixes: CommaList = [".txt", ".csv", ".json", ".xml", ".md", ".html", ".pdf", ".zip", ".gz", ".tmp", ".part"]
    made_prefixes: CommaList = ["made/"]
    """Objects below these prefixes are made data (phantoms), and their rows are marked so."""
    max_attempts: int = Field(default=3, ge=1)
    """Number of nights that try a `failed` image automatically, including the first."""

    # Intake
    max_bytes: int = Field(default=64 * 1024**2, gt=0)
    max_pixels: int = Field(default=64_000_000, gt=0)
    intake_threads: int = Field(default=0, ge=0)
    """0: two more than the number of processors."""
    shard_size: int = Field(default=512, gt=0)
    queue_shards: int = Field(default=1, ge=1)
    """Shards that wait, already read, between the one being read and the one being scored; memory grows with it."""

    # Validation
    max_bad_share_shard: float = Field(default=0.8, ge=0, le=1)
    max_bad_share_run: float = Field(default=0.3, ge=0, le=1)
    bad_share_min_images: int = Field(default=20, ge=1)
    """With fewer images than this, the two limits above do not apply."""

    # Inference
    runtime: Literal["auto", "openvino", "openvino-f32", "openvino-bf16", "keras"] = "auto"
    batch_size: int = Field(default=32, gt=0)

    # Report
    explain_highest: int = Field(default=12, ge=0, le=24)
    """Number of images with the highest scores that get a heat map in a published night's report."""

    # Database
    database_patience_s: float = Field(default=120.0, ge=0)
    """How long a step waits for Postgres to come back before the run fails."""

    # Retraining
    recipes: CommaList = ["local-patterns", "compact-cnn"]
    """Recipes that a retraining trains as challengers."""
    validation_share: float = Field(default=0.15, gt=0, lt=0.5)
    test_share: float = Field(default=0.15, gt=0, lt=0.5)
    """Share of new patients; an image keeps its split permanently."""
    promotion: Literal["automatic", "approval"] = "automatic"
    approval_hours: float = Field(default=24.0, gt=0)
    """How long a retraining waits for a person's decision; after that, the champion stays."""
    gate_file: Path | None = None
    """JSON file with the gate's rules; None for the default rules."""
    training_minutes: float | None = Field(default=None, gt=0)
    """Time limit for each challenger: an epoch that would not finish in time is not started."""
    pretrained: Literal["imagenet", "none"] = "imagenet"
    """Initial weights of backbones whose recipe asks for pretrained weights."""
    pretrained_dir: Path | None = None
    """Folder with the files of pretrained weights; None downloads them."""
    retrain_new_labels: int = Field(default=200, ge=0)
    """The end of a night requests a retraining if there are this many new labels since the last one; 0: never."""
    retrain_on_drift: bool = True
    drift_images: int = Field(default=1000, ge=1)
    """Maximum number of images in the reference window (the champion's first) and the current window (the newest)."""
    drift_min_images: int = Field(default=200, ge=1)
    drift_threshold: float = Field(default=0.25, gt=0, le=1)
    """Minimum distance between the two windows, 0 to 1, that counts as drift."""

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
    def _check_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("no such time zone; use a name such as Europe/Berlin") from None
        return value

    @field_validator("scoring_cron", "retraining_cron")
    @classmethod
    def _check_cron(cls, value: str) -> str:
        # Prefect's own parser would import Prefect before the address of its server is set.
        from cronsim import CronSim, CronSimError

        fault = "" if value in CRON_NAMES or len(value.split()) == CRON_FIELDS else "bad number of fields"
        try:
            if not fault and value not in CRON_NAMES:
                CronSim(value, datetime(2000, 1, 1))  # noqa: DTZ001 - only the expression is checked
            if re.search(r"LW|\dL", value.upper()):
                fault = "Prefect does not support LW and 5L"
        except CronSimError as error:
            fault = str(error).lower()
        if fault:
            raise ValueError(f"{fault}; the fields are minute, hour, day, month and day of the week, as in 0 2 * * *")
        return value

    @field_validator("prefixes", "recipes")
    @classmethod
    def _check_not_empty(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("the list is empty; name at least one, such as incoming/ or compact-cnn")
        return value

    @field_validator("s3_endpoint_url")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if not value:
            return None
        try:
            url = urlsplit(value)
            valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise ValueError("it must begin with http:// or https:// and name a host, such as http://127.0.0.1:9021")
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse an ambiguous URL, in which part of a password could be taken for the host's name and be shown."""
        text = value.get_secret_value() if value else ""
        if not text:
            return None
        if not re.match(r"postgres(ql)?(\+\w+)?://", text):
            raise ValueError(f"it must begin with postgresql://; {DATABASE_FORM}")
        if not _is_unambiguous(text):
            raise ValueError(
                f"it cannot be read; {DATABASE_FORM}; percent-encode @ : / ? # in the user name and password"
            )
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic passes these names
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give the local stack's file priority where it is read: a developer's AWS keys do not open the local store."""
        return init_settings, dotenv_settings, env_settings, file_secret_settings

    @classmethod
    def load(cls, *, warn: bool = True) -> Self:
        """Read the environment, and the local stack's file if the environment names no service.

        Args:
            warn: log each unknown ``CXR_`` variable, once per process.

        Raises:
            SettingsError: a variable has an invalid value.
        """
        if warn:
            for message in unknown_variables():
                _warn(message)
        try:
            return (
                cls() if named_services() else cls(_env_file=state_folder() / LOCAL_STACK_FILE, aws_session_token=None)
            )
        except ValidationError as error:
            problems = "; ".join(
                f"{_variable(str(problem['loc'][0]))}: {problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors(include_input=False)
            )
            raise SettingsError(problems) from None

    @property
    def bucket(self) -> str:
        """The bucket's name; raises `SettingsError` if it is not set."""
        if not self.s3_bucket:
            raise SettingsError(_missing("CXR_S3_BUCKET"))
        return self.s3_bucket

    @property
    def database(self) -> str:
        """The database URL with its password, for the driver only; raises `SettingsError` if it is not set."""
        if self.database_url is None:
            raise SettingsError(_missing("CXR_DATABASE_URL"))
        return self.database_url.get_secret_value()

    @property
    def cache(self) -> Path:
        """Folder for model artifacts, converted models, decoded images and trainings; safe to delete.

        It is in the state folder if CXR_HOME is set or the folder exists. Otherwise it is in the user's cache folder,
        because a worker that runs each night in a new temporary folder would fetch and convert the model each time.
        There, each combination of database and bucket has its own folder, because a retraining removes everything that
        does not belong to its data set.
        """
        if os.environ.get("CXR_HOME") or state_folder().is_dir():
            return state_folder() / "cache"
        user_cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        url = urlsplit(self.database_url.get_secret_value() if self.database_url else "")
        services = f"{url.hostname} {url.port} {url.path} {self.s3_endpoint_url} {self.s3_bucket}"
        digest = hashlib.sha256(services.encode()).hexdigest()[:8]
        return (user_cache if user_cache.is_absolute() else Path.home() / ".cache") / "cxr-nightly" / digest


def named_services() -> list[str]:
    """Return the environment's variables that name a service; if there is one, the local stack is not used."""
    return [name for name in SERVICE_VARIABLES if os.environ.get(name)]


def unknown_variables() -> list[str]:
    """Return a message for each unknown ``CXR_`` variable in the environment, with the most similar known one."""
    fields = {f"CXR_{name.upper()}" for name, field in Settings.model_fields.items() if field.validation_alias is None}
    known = sorted(fields | set(NON_FIELD_VARIABLES[:-1]))
    messages = []
    for name in sorted(os.environ):
        if name.upper().startswith("CXR_") and name.upper() not in {*known, *NON_FIELD_VARIABLES}:
            similar = get_close_matches(name.upper(), known, 1)
            question = f"; did you mean {similar[0]}?" if similar else ""
            messages.append(f"{name} is not a setting and is ignored{question}")
    return messages


@cache
def _warn(message: str) -> None:
    logging.getLogger(__name__).warning("%s", message)


def _is_unambiguous(url: str) -> bool:
    """Return whether a database URL is valid and can be read in only one way."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    return url.count("@") <= 1 and "@" not in f"{parsed.host}{parsed.database}"


def _variable(field: str) -> str:
    """Return the variable for the name in a validation error, which is a field or its alias."""
    return field.upper() if field.isupper() else f"CXR_{field.upper()}"


def _missing(name: str) -> str:
    return (
        f"{name} is not set and no local stack is running in {state_folder()}: start one with `cxr up`, or set {name}."
    )
