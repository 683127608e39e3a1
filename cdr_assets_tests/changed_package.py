"""A copy of the package that a test may change, and programs that run with it in a process of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cdr_assets
from cdr_assets_tests.location import plain_environment

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = Path(cdr_assets.__file__).parent


class ChangedPackage:
    """A copy of the package in the empty folder `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PACKAGE.name
        self._folder = folder
        shutil.copytree(PACKAGE, self.path, ignore=shutil.ignore_patterns("__pycache__"))

    def replace(self, file: str, old: str, new: str) -> None:
        """Replaces the one place in the file of the package that has this text."""
        text = (self.path / file).read_text()
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
        (self.path / file).write_text(text.replace(old, new))

    def run(self, program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
        """What the program prints last, a line of JSON. It imports the copy, and the helpers of the tests."""
        process = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=self._folder,
            env={
                **plain_environment(),
                **(environment or {}),
                "PYTHONPATH": os.pathsep.join([str(self._folder), str(CHECKOUT)]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return json.loads(process.stdout.splitlines()[-1])
