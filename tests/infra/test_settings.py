"""Settings: read on demand, from one place, and never showing a secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.settings import LOCAL_STACK_FILE, SERVICE_VARIABLES, Settings, SettingsError, unknown_variables

LOCAL = {
    "CXR_DATABASE_URL": "postgresql://local:local-secret@127.0.0.1/cxr",
    "CXR_S3_ENDPOINT_URL": "http://127.0.0.1:9021",
    "CXR_S3_BUCKET": "local",
    "AWS_ACCESS_KEY_ID": "local-key",
    "AWS_SECRET_ACCESS_KEY": "local-secret",
    "PREFECT_API_URL": "http://127.0.0.1:4200/api",
}

NEAR = "CXR_SHARD_SIZ is not a setting and is ignored"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a local stack's file, and an environment that names no service."""
    for name in list(os.environ):
        if name.startswith(("CXR_", "AWS_", "PREFECT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    (tmp_path / LOCAL_STACK_FILE).write_text("".join(f"{name}={value}\n" for name, value in LOCAL.items()))
    return tmp_path


def secret(settings: Settings) -> str | None:
    return settings.aws_secret_access_key.get_secret_value() if settings.aws_secret_access_key else None


def test_without_named_services_the_local_stack_is_used() -> None:
    settings = Settings.load()
    assert (settings.bucket, settings.database, secret(settings)) == (
        "local",
        LOCAL["CXR_DATABASE_URL"],
        "local-secret",
    )


@pytest.mark.parametrize("name", SERVICE_VARIABLES)
def test_a_named_service_keeps_the_local_stacks_addresses_and_secrets_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = {"CXR_DATABASE_URL": "postgresql://real/cxr", "CXR_S3_ENDPOINT_URL": "https://real"}
    monkeypatch.setenv(name, real.get(name, "real"))
    settings = Settings.load()
    assert "local" not in settings.model_dump_json(exclude={"host", "recipes"}).replace("localhost", "")
    assert secret(settings) is None
    assert settings.prefect_api_url is None


def test_the_local_stacks_keys_win_over_a_developers_own_aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other half of 'never both': real keys are useless to the local store and must not reach it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real-token")
    settings = Settings.load()
    assert secret(settings) == "local-secret"
    assert settings.aws_session_token is None


def test_thresholds_may_be_set_beside_the_local_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_SHARD_SIZE", "7")
    settings = Settings.load()
    assert (settings.shard_size, settings.bucket) == (7, "local")


@pytest.mark.parametrize("attribute", ["bucket", "database"])
def test_the_error_for_a_missing_service_names_the_variable_and_what_to_do(home: Path, attribute: str) -> None:
    (home / LOCAL_STACK_FILE).unlink()
    with pytest.raises(SettingsError, match=rf"CXR_\w+ is not set.* in {home}: .*cxr up"):
        getattr(Settings.load(), attribute)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CXR_SHARD_SIZE", "0"),
        ("CXR_MAX_BAD_SHARE_RUN", "1.5"),
        ("CXR_RUNTIME", "abacus"),
        ("CXR_TIMEZONE", "Middle/Earth"),
        ("CXR_PREFIXES", " , "),
        ("CXR_POSTGRES_PORT", "99999"),
        ("CXR_REPORTS_PORT", "0"),
        ("CXR_SCORING_CRON", "0 99 * * *"),
        ("CXR_SCORING_CRON", "2 o'clock"),
        ("CXR_SCORING_CRON", ""),
        ("CXR_SCORING_CRON", "0 2 LW * *"),
        ("CXR_S3_ENDPOINT_URL", "127.0.0.1:9021"),
        ("CXR_S3_ENDPOINT_URL", "http://"),
        ("CXR_S3_ENDPOINT_URL", "http://store:99999"),
        ("CXR_DATABASE_URL", "mysql://u:p@127.0.0.1/own"),
        ("CXR_DATABASE_URL", "127.0.0.1/own"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_variables_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as refusal:
        Settings.load()
    assert len(str(refusal.value).splitlines()) == 1
    assert "List should" not in str(refusal.value)


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/15 1-5 * * MON-FRI", "30 22 1,15 * *", "@daily"])
def test_a_cron_expression_that_prefect_accepts_is_accepted(cron: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    monkeypatch.setenv("CXR_SCORING_CRON", cron)
    assert CronSchedule(cron=Settings.load().scoring_cron).cron == cron


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:Se@Cr/Et#BAD@127.0.0.1:5432/own",
        "postgresql://u@Se:Cr@Et@127.0.0.1/own",
        "postgresql://Se/Cr:Et@127.0.0.1/own",
        "postgresql://u:SeCrEt",
    ],
)
def test_a_database_url_that_would_show_part_of_its_secret_is_refused_without_repeating_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_DATABASE_URL", url)
    with pytest.raises(SettingsError, match=r"percent-encode @ : / \? # in the user name and password") as refusal:
        Settings.load()
    assert not any(part in str(refusal.value) for part in ("Se", "Cr", "Et", "127.0.0.1", "own"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:Se%40Cr%2FEt@127.0.0.1:5432/own",
        "postgres://u:p@[::1]/own?sslmode=require",
        "postgresql+psycopg2://127.0.0.1/own",
        "postgresql:///own?host=/run/postgresql",
    ],
)
def test_every_usual_form_of_a_database_url_is_accepted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_DATABASE_URL", url)
    assert Settings.load().database == url


def test_an_unknown_variable_is_reported_once_with_the_most_similar_setting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("CXR_SHARD_SIZ", "CXR_HOME", "CXR_CODE_VERSION", "CXR_STACK_HOME", "CXR_TIMEZONE", "CXR_QQQ"):
        monkeypatch.setenv(name, os.environ.get(name, "UTC"))
    told = ["CXR_QQQ is not a setting and is ignored", f"{NEAR}; did you mean CXR_SHARD_SIZE?"]
    assert unknown_variables() == told
    Settings.load(warn=False)
    assert caplog.messages == []
    Settings.load()
    Settings.load()
    assert caplog.messages == told


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_PREFIXES", "incoming/%Y/%m/%d/, second/")
    assert Settings.load().prefixes == ["incoming/%Y/%m/%d/", "second/"]


def test_no_secret_is_printed() -> None:
    settings = Settings.load()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "local-secret" not in shown


def test_a_worker_in_a_temporary_folder_caches_models_in_the_users_own_folder(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path_factory.mktemp("work")
    monkeypatch.chdir(work)
    assert Settings.load().cache == home / "cache"
    monkeypatch.delenv("CXR_HOME")
    for value, cache in (("", Path.home() / ".cache"), ("relative", Path.home() / ".cache"), (str(work), work)):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert Settings.load().cache.parent == cache / "cxr-nightly"
        assert Settings(s3_bucket="b").cache != Settings(s3_bucket="c").cache, "one would remove the other's trainings"
    (work / ".cxr").mkdir()
    assert Settings.load().cache == work / ".cxr" / "cache"
