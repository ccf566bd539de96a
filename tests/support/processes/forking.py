"""The server that forks: see `tests.support.processes.warm`."""

from __future__ import annotations

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

import pytest

from tests.support.processes.aws import read_descriptions_now, read_descriptions_once
from tests.support.processes.eager import eager
from tests.support.processes.warm import HEAD, kill, seen_by_prefect, use
from tests.support.recipes import known

IMPORTED = (
    "flows.cli",
    "flows.retraining",
    "flows.scoring",
    "great_expectations",
    "models.serving.conversion",
    "models.training.train",
    "models.training.worker",
    "pandas",
    "tasks.validation.data_docs",
    "tensorflow",
)
"""Nothing that starts a thread, which a child would lack: not OpenVINO. TensorFlow starts its own at its first use."""


class Forking:
    """The server at work."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self._selector = listener, selectors.DefaultSelector()
        self._children: dict[int, socket.socket] = {}
        """Who asked for each, by process id."""

    def run(self) -> None:
        """Fork and tell of ends, until the input ends."""
        woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._listener, selectors.EVENT_READ, self._fork)
        self._selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(64) and self._reap())
        self._selector.register(0, selectors.EVENT_READ, sys.exit)
        try:
            while True:
                for key, _ in self._selector.select():
                    key.data()
        finally:
            for pid in self._children:
                kill(pid)

    def _fork(self) -> None:
        client, _ = self._listener.accept()
        head, (out, *_), _, _ = socket.recv_fds(client, HEAD, 1)
        request = json.loads(client.makefile("rb").read(int.from_bytes(head, "big")))
        pid = os.fork()
        if not pid:
            address = self._listener.getsockname()
            for one in (self._selector, self._listener, client, *self._children.values()):
                one.close()
            _become(str(address), request, out)
        os.close(out)
        client.sendall(f"{pid}\n".encode())
        self._children[pid] = client
        self._selector.register(client, selectors.EVENT_READ, partial(self._left, pid))

    def _left(self, pid: int) -> None:
        """Nobody waits for the process any more."""
        self._selector.unregister(self._children[pid])
        kill(pid)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            client = self._children.pop(pid)
            with suppress(KeyError):
                self._selector.unregister(client)
            with suppress(OSError):
                client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            client.close()


def _become(address: str, request: dict[str, Any], out: int) -> NoReturn:
    """In the child: be the process that was asked for, to its end."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), out, out)):
            os.dup2(file, number)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        code = _run(address, request["module"], request["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as Python does at the top
        traceback.print_exc()
    finally:  # as when Python ends
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
            atexit._run_exitfuncs()  # noqa: SLF001
            sys.stdout.flush()
        os._exit(code)


def _run(address: str, name: str, arguments: list[str]) -> int:
    module = import_module(name)
    sys.argv = [name, *arguments]
    use(address, pytest.MonkeyPatch())
    if name == "models.training.worker":
        if "--parent" in arguments:  # the server ends it when the one who asked for it is gone
            arguments[arguments.index("--parent") + 1] = str(os.getppid())
        with eager():
            return int(module.main(arguments))
    if name == "models.serving.conversion":
        module.main(*arguments)
        return 0
    from prefect import context

    sys.argv[0] = "cxr"
    sys.modules["__main__"].__package__ = None  # Click would take it for the program's name
    context.GLOBAL_SETTINGS_CONTEXT = seen_by_prefect()
    module.main()
    return 0


def main(number: int) -> None:
    """Import everything and serve on a listening socket that was handed over."""
    for name in IMPORTED:
        import_module(name)
    known(pytest.MonkeyPatch())
    read_descriptions_once()
    read_descriptions_now()
    gc.freeze()
    assert threading.active_count() == 1
    Forking(socket.socket(fileno=number)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
