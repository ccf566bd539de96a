"""What the name of the person at the terminal promises to histories."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from flows.commands.person import login


def test_a_person_is_known_by_their_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ito")
    assert login() == "ito"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user that the machine has no name for")
def test_a_machine_without_a_name_for_its_user_says_none() -> None:
    unknown = "import os; from flows.commands.person import login; os.setuid(54321); print(login())"
    bare = {name: value for name, value in os.environ.items() if name not in {"LOGNAME", "USER", "LNAME", "USERNAME"}}
    told = subprocess.run([sys.executable, "-c", unknown], env=bare, capture_output=True, text=True, check=False)
    assert (told.stdout, told.returncode) == ("None\n", 0), told.stderr
