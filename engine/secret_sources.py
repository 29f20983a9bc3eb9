"""Secret sources: keys in settings, in environment variables and in files. No text of a key is ever shown."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .setting_values import Secret
    from .settings import Section

Warn = Callable[[str], None]

_MAX_KEY_FILE: Final = 64 * 1024


def places(section: Section, name: str) -> tuple[str | None, str | None, str | None]:
    """Return a secret as it stands in the settings, the file that holds it, and the variable that does."""
    inline: Secret | None = getattr(section, name)
    text = None if inline is None else inline.get_secret_value()
    return text, getattr(section, f"{name}_file"), getattr(section, f"{name}_env")


def found_in(
    name: str, places: tuple[str | None, str | None, str | None], environ: Mapping[str, str], warn: Warn
) -> str:
    """Return the secret that one of its places holds; `name` is its setting. Raises `InvalidSetting`."""
    secret, file, variable = places
    if file is not None:
        name, secret = f"{name}_file", _content(f"{name}_file", file, warn)
    elif variable is not None:
        # The variable is not named: who mistakes this key for the other one has put the secret itself there.
        name, secret = f"{name}_env", environ.get(variable)
        if secret is None:
            raise InvalidSetting(name, "the environment variable it names is not set; set it, or name a file")
    if secret is None or not secret.strip():
        raise InvalidSetting(name, "the key is blank; give it as the gateway gave it, or leave it out")
    return secret


def secret_of(environ: Mapping[str, str], variable: str, warn: Warn) -> str | None:
    """Return what a variable, or the file that `variable_FILE` names, holds; None: neither. Raises `InvalidSetting`."""
    given, file = environ.get(variable), environ.get(f"{variable}_FILE")
    if given is not None and file is not None:
        raise InvalidSetting(variable, f"{variable}_FILE is set too; set one of the two")
    name = variable if file is None else f"{variable}_FILE"
    secret = given if file is None else _content(name, file, warn)
    if secret is not None and not secret.strip():
        raise InvalidSetting(
            name, "the key is blank; unset the variable, or give the key as the gateway gave it"
        )
    return secret


def _content(name: str, path: str, warn: Warn) -> str:
    # The path is not shown: who mistakes this variable for the other one has put the key itself there.
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the name may be that of a pipe, such as /dev/fd/3
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & stat.S_IROTH:
                warn(f"everybody on this machine can read the file that {name} names; chmod 600 it")
            raw = file.read(_MAX_KEY_FILE + 1)
        if len(raw) > _MAX_KEY_FILE:
            raise InvalidSetting(
                name, f"the file it names is above {_MAX_KEY_FILE} bytes, so it holds no key"
            )
        return raw.decode().rstrip("\r\n")
    except OSError as error:
        raise InvalidSetting(name, f"the file it names cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidSetting(name, "the file it names holds no UTF-8 text") from None
