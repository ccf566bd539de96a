"""Settings: read when asked for, from one place, and never showing a secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.settings import LOCAL_FILE, SERVICE_VARIABLES, Settings, SettingsError

LOCAL = {
    "CXR_DATABASE_URL": "postgresql://local:local-secret@127.0.0.1/cxr",
    "CXR_S3_ENDPOINT_URL": "http://127.0.0.1:9021",
    "CXR_S3_BUCKET": "local",
    "AWS_ACCESS_KEY_ID": "local-key",
    "AWS_SECRET_ACCESS_KEY": "local-secret",
    "PREFECT_API_URL": "http://127.0.0.1:4200/api",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a local stack's file, and an environment that names nothing."""
    for name in list(os.environ):
        if name.startswith(("CXR_", "AWS_", "PREFECT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    (tmp_path / LOCAL_FILE).write_text("".join(f"{name}={value}\n" for name, value in LOCAL.items()))
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
    monkeypatch.setenv(name, "postgresql://real/cxr" if "URL" in name else "real")
    settings = Settings.load()
    assert "local" not in settings.model_dump_json(exclude={"host"}).replace("localhost", "")
    assert secret(settings) is None
    assert settings.prefect_api_url is None


def test_the_local_stacks_keys_win_over_a_developers_own_aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other half of 'never a mix': real keys are of no use to the local store, and none of its business."""
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
def test_a_missing_service_says_which_variable_and_what_to_do(home: Path, attribute: str) -> None:
    (home / LOCAL_FILE).unlink()
    with pytest.raises(SettingsError, match=r"CXR_\w+ is not set.*cxr up"):
        getattr(Settings.load(), attribute)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CXR_SHARD_SIZE", "0"),
        ("CXR_MAX_BAD_SHARE_RUN", "1.5"),
        ("CXR_RUNTIME", "abacus"),
        ("CXR_TIMEZONE", "Middle/Earth"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_variables_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        Settings.load()


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
        assert Settings.load().cache == cache / "cxr-nightly"
    (work / ".cxr").mkdir()
    assert Settings.load().cache == work / ".cxr" / "cache"
