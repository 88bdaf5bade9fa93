"""Secrets: fetched from where the configuration says that they are, never written in it.

systemd's credentials (systemd.exec, "Credentials") are files in $CREDENTIALS_DIRECTORY that only the service can read.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from pipit.core.options import Secret
from pipit.errors import ConfigError
from pipit.plugins import did_you_mean


def fetch(tag: str, name: str, folder: Path) -> Secret:
    """Return the secret that `tag` ("!credential", "!env" or "!file") and its `name` stand for.

    Args:
        tag: one of `TAGS`.
        name: what follows the tag.
        folder: what a relative path of `!file` is relative to.

    Raises:
        ConfigError: there is no such secret, or it is empty; says how to provide it.
    """
    if not name:
        raise ConfigError(f"{tag} needs a {TAGS[tag]} after it")
    return _SOURCES[tag](name, folder)


def _credential(name: str, _folder: Path) -> Secret:
    source = f"credential {name}"
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", name):
        raise ConfigError(f"{source}: not a name that a credential can have; letters, digits and _ . : - are allowed")
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    if given is None:
        return Secret(_decrypted(name, source), source)
    there = _listing(given)
    if name not in there:
        raise ConfigError(
            f"{source}: systemd passed on no such credential{did_you_mean(name, there)}; store it with "
            f"'systemd-creds encrypt --name={name} - /etc/credstore.encrypted/{name}' and have "
            f"LoadCredentialEncrypted={name} in the service ('systemctl edit pipit')"
        )
    return Secret(_content(Path(given, name), source), source)


STORE = "/etc/credstore.encrypted"
"""Where the unit's LoadCredentialEncrypted= finds them."""


def _decrypted(name: str, source: str) -> str:
    """Return what systemd would pass on: for `pipit check` and `pipit config`, run by hand as root."""
    stored = Path(STORE, name)
    by_hand = f"use !file PATH or !env NAME, or set CREDENTIALS_DIRECTORY to a folder with a file {name} in it"
    try:
        stored.stat()
    except PermissionError as error:
        raise ConfigError(f"{source}: only root can read {STORE}; run this with sudo, or {by_hand}") from error
    except OSError as error:
        store = f"'sudo systemd-creds encrypt --name={name} - {stored}'"
        raise ConfigError(f"{source}: there is no {stored}; store the key with {store}, or {by_hand}") from error
    command = ["systemd-creds", "decrypt", f"--name={name}", str(stored), "-"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{source}: {stored} cannot be decrypted here ({error}); run this with sudo, or {by_hand}") from error
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise ConfigError(f"{source}: {stored} cannot be decrypted ({why[0]}); run this with sudo, or store the key again")
    if not done.stdout.strip():
        raise ConfigError(f"{source}: {stored} is empty; store the key again")
    return done.stdout.strip()


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []  # as good as empty


def _env(name: str, _folder: Path) -> Secret:
    source = f"environment variable {name}"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ConfigError(f"{source}: not a name that a variable can have; write it without $, quotes and blanks")
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"{source}: not set, or empty; give it to the service with EnvironmentFile= ('systemctl edit pipit')")
    return Secret(value, source)


def _file(name: str, folder: Path) -> Secret:
    path = folder / name
    source = f"file {path}"
    value = _content(path, source)
    if path.stat().st_mode & stat.S_IROTH:
        raise ConfigError(
            f"{source}: everybody on this machine can read it; {_FOR_THE_SERVICE.format(path)}, or use !credential NAME"
        )
    return Secret(value, source)


def _content(path: Path, source: str) -> str:
    try:
        value = path.read_text(encoding="utf-8-sig").strip()
    except PermissionError as error:
        raise ConfigError(f"{source}: this user may not read it; {_FOR_THE_SERVICE.format(path)}") from error
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: not text") from error
    if not value:
        raise ConfigError(f"{source}: empty; put the key in it")
    return value


_FOR_THE_SERVICE = "'sudo chgrp pipit {0}' and 'sudo chmod 640 {0}' let the service read it, and nobody else"

TAGS: Mapping[str, str] = {"!credential": "NAME", "!env": "NAME", "!file": "PATH"}
"""The tags that stand for a secret, each with what follows it."""

_SOURCES: Mapping[str, Callable[[str, Path], Secret]] = {"!credential": _credential, "!env": _env, "!file": _file}
