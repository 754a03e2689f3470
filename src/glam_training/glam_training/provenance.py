"""Where an artefact comes from: the command, the commit and the versions that made it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def git_commit() -> str:
    """Commit of this package's checkout, with "+changes" when tracked files differ.

    Outside a checkout, what the environment variable GLAM_COMMIT says; else "unknown".
    """
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GLAM_COMMIT", "unknown")
    return commit + ("+changes" if changed else "")


def package_versions(*names: str) -> dict[str, str]:
    """Installed version of each distribution; "not installed" where it is missing."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def command_line() -> str:
    """The command that started this process, with the program's folder left out."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
