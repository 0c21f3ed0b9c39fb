"""The environment that conductor-python runs in: it is measured against, never depended on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "2.0.0"
_MARK = "complete"


def rest_sdk_python() -> Path:
    """The interpreter of a virtual environment with conductor-python, made at the first call, then reused.

    Raises subprocess.CalledProcessError if it cannot be installed; pip has then said why.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / "conductor-grpc" / f"benchmark-conductor-python-{VERSION}-{python}"
    interpreter = folder / "bin" / "python"
    if not (folder / _MARK).exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([interpreter, "-m", "pip", "install", "-q", f"conductor-python=={VERSION}"], check=True)
        (folder / _MARK).touch()
    return interpreter
