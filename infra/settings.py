"""Settings: everything that differs between a laptop and a hospital, read from the environment.

Built once inside a flow or a command, never at import. A variable is named ``CXR_`` plus the field's name in
capitals; the AWS variables keep their usual names. Where none of the variables that name a service is set, the file
that ``cxr up`` writes into its state folder fills in the local stack's addresses and secrets: either the
environment names the services or that file does, never a mix, so that local credentials cannot reach a real store.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

SERVICE_VARIABLES = ("CXR_DATABASE_URL", "CXR_S3_ENDPOINT_URL", "CXR_S3_BUCKET")
LOCAL_FILE = "local.env"


class SettingsError(RuntimeError):
    """A setting is missing or contradicts another; the message names the variable and what to do."""


def home() -> Path:
    """Return the state folder of the local stack (``CXR_HOME``, default ``.cxr`` in the working directory)."""
    return Path(os.environ.get("CXR_HOME", ".cxr")).absolute()


def _split(value: object) -> object:
    """Read a list from a variable: its items are separated by commas."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


Items = Annotated[list[str], NoDecode, BeforeValidator(_split)]


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
    prefixes: Items = Field(default=["incoming/"], min_length=1)
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
    shard_size: int = Field(default=256, gt=0)
    queue_shards: int = Field(default=1, ge=1)
    """Shards read ahead while one is scored; memory grows with it."""

    # Validation
    max_bad_share_shard: float = Field(default=0.8, ge=0, le=1)
    max_bad_share_run: float = Field(default=0.3, ge=0, le=1)
    bad_share_min_images: int = Field(default=20, ge=1)
    """The two shares above are not judged on fewer images than this."""

    # Inference
    runtime: Literal["auto", "openvino", "openvino-f32", "openvino-bf16", "keras"] = "auto"
    batch_size: int = Field(default=32, gt=0)

    # Database
    database_patience_s: float = Field(default=120.0, ge=0)
    """How long a step waits for Postgres to come back before the run fails."""

    # Schedule
    timezone: str = "UTC"
    scoring_cron: str = "0 2 * * *"

    # Local stack (`cxr up`)
    host: str = "127.0.0.1"
    postgres_port: int = 54321
    s3_port: int = 9021
    prefect_port: int = 4200
    reports_port: int = 4280

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("no such time zone; use a name such as Europe/Berlin") from None
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
    def load(cls) -> Self:
        """Read the environment, or the local stack's file where the environment names no service.

        Raises:
            SettingsError: a variable has a value that cannot be used.
        """
        named = any(os.environ.get(name) for name in SERVICE_VARIABLES)
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
        """Folder for model artifacts and converted models, safe to delete.

        Below the state folder where one is named or there; else the user's own, because a worker runs each night in
        a new temporary folder and would fetch and convert the model each time.
        """
        if os.environ.get("CXR_HOME") or home().is_dir():
            return home() / "cache"
        users = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (users if users.is_absolute() else Path.home() / ".cache") / "cxr-nightly"


def _variable(field: str) -> str:
    """Return the variable that a validation error is about: pydantic names a field, or its alias."""
    return field.upper() if field.isupper() else f"CXR_{field.upper()}"


def _missing(variable: str) -> str:
    return f"{variable} is not set and no local stack is running: start one with `cxr up`, or set {variable}."
