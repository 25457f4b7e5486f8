"""`scripts/soak.py` for a minute: a training run that is killed, stopped and starved of disk ends as if nothing had been."""

import subprocess
import sys

import pytest

from conftest import REPOSITORY


def test_a_minute_of_trouble(binary):
    command = [sys.executable, REPOSITORY / "scripts/soak.py", "--minutes", "1", "--seed", "1", "--binary", binary]
    soaked = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if "no small file system can be mounted here" in soaked.stderr:
        pytest.skip(soaked.stderr.strip())
    assert soaked.returncode == 0, soaked.stdout + soaked.stderr
