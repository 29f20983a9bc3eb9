"""Configuration: finds `refold.toml`, reads it and the environment into `Settings`, and says what is wrong with it."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_settings import PydanticBaseSettingsSource as Source
from pydantic_settings import TomlConfigSettingsSource

from .errors import InvalidSetting
from .setting_values import Variable
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails
    from pydantic_settings import BaseSettings

DEFAULT_FILE: Final = "refold.toml"
FILE_VARIABLE: Final = "REFOLD_CONFIG"
STORE_VARIABLE: Final = "REFOLD_DB"
PREFIX: Final = "REFOLD_"
BETWEEN: Final = "__"
"""Between the words of a variable that stands for a key: `REFOLD_GATEWAYS__EVONET__BASE_URL`."""
_MAX_FILE: Final = 1024 * 1024
_OTHERS: Final = 0o077
_SECRET_NAMES: Final = frozenset({"secret", "private_key"})
_URL_NAMES: Final = frozenset({"proxy", "url"})
_PLAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_-]{0,30}", re.ASCII)
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_PLACE: Final = re.compile(r"line [0-9]+, column [0-9]+|end of document")

Loc = tuple[int | str, ...]


def find_file(
    given: str | os.PathLike[str] | None, environ: Mapping[str, str], name: str = "--config"
) -> Path | None:
    """Return the file to read: the given one, else the one REFOLD_CONFIG names, else ./refold.toml if it exists.

    Args:
        given: the file's path, or None.
        environ: the environment.
        name: what an error calls the given one.

    Raises:
        InvalidSetting: a file that was named is not there.
    """
    name = name if given is not None else FILE_VARIABLE
    wanted = given if given is not None else environ.get(FILE_VARIABLE) or None
    if wanted is None:
        return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None
    path = Path(wanted)
    if not path.is_file():
        raise InvalidSetting(name, f"{os.fspath(wanted)!a} is no file; name a refold.toml that exists")
    return path


def read_settings(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Settings:
    """Return what a file and the environment say; a variable stands above the file, a default below it.

    Args:
        path: the file; None: the environment alone.
        environ: the environment; every variable with `__` behind `REFOLD_` must be a key.

    Raises:
        InvalidSetting: the file cannot be read, holds a secret that others can read, or a key is unknown or has a
            value that cannot be used. No value is shown: it may be a secret.
    """

    class Read(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Source, **__: Source
        ) -> tuple[Source, ...]:
            file = () if path is None else (_File(settings_cls, Path(path)),)
            return (_Environment(settings_cls, environ), *file)

    try:
        found = Read()
        return Settings.model_construct(**{name: getattr(found, name) for name in Settings.model_fields})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    # Outside of the handler, so that nothing that held a value hangs on to the error.
    raise _invalid(problems, environ)


def store_url(text: str, name: str = "--db") -> str:
    """Return the URL of a store given as a URL or as a file's path.

    Raises:
        InvalidSetting: it is blank.
    """
    if not text.strip():
        raise InvalidSetting(name, "it is blank; name a file or a URL such as sqlite:///refunds.db")
    return text if _URL.match(text) else f"sqlite:///{quote(os.fsencode(text))}"


# ---- the two sources ------------------------------------------------------------------------------------------------


class _File(TomlConfigSettingsSource):
    """The TOML file; one that holds a secret must be its owner's alone."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:  # noqa: ANN401 - differs between versions
        try:
            with Path(file_path).open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                raw = file.read(_MAX_FILE + 1)
        except OSError as error:
            raise InvalidSetting(str(file_path), f"it cannot be read: {error.strerror}") from None
        content = _parsed(str(file_path), raw)
        held = next(_secrets(content, ()), None)
        if held is not None and mode & _OTHERS:
            raise InvalidSetting(
                _dotted(held),
                f"a secret stands in {file_path}, whose mode {mode:04o} lets others read it: chmod 600 it, or name a"
                " file or an environment variable that holds the secret",
            )
        return content


def _parsed(name: str, raw: bytes) -> dict[str, Any]:
    if len(raw) > _MAX_FILE:
        raise InvalidSetting(name, f"it is above {_MAX_FILE} bytes, so it is no configuration")
    try:
        return tomllib.loads(raw.decode())
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        reason = f"it is no TOML ({place[0]}); texts stand in quotes" if place else "it is no TOML"
    except ValueError:  # no UTF-8, or a date that is none
        reason = "it is no TOML in UTF-8"
    except RecursionError:
        reason = "it is nested too deeply"
    raise InvalidSetting(name, reason)


def _secrets(value: object, loc: Loc) -> Iterator[Loc]:
    """Yield where a file holds a secret."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _SECRET_NAMES or (name in _URL_NAMES and _has_password(inner)):
                yield (*loc, name)
            yield from _secrets(inner, (*loc, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _secrets(inner, (*loc, index))


def _has_password(url: object) -> bool:
    try:
        return isinstance(url, str) and "@" in urlsplit(url).netloc
    except ValueError:
        return "@" in str(url)


class _Environment(Source):
    """The variables that stand for keys."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: all is read at once."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the variables as tables in tables."""
        found: dict[str, Any] = {}
        for name, text in sorted(self._environ.items()):
            *tables, key = name.removeprefix(PREFIX).lower().split(BETWEEN)
            if not name.startswith(PREFIX):
                continue
            if not tables:
                if key in Settings.model_fields:
                    raise InvalidSetting(name, f"it names a table; {name}{BETWEEN}… names one of its keys")
                continue
            if name != name.upper():
                raise InvalidSetting(name, "the names of variables are written in capitals")
            table = found
            for part in tables:
                inner = table.setdefault(part, {})
                if not isinstance(inner, dict):
                    raise InvalidSetting(name, "the table it names is given as a value by another variable")
                table = inner
            table[key] = Variable(text)
        if self._environ.get(STORE_VARIABLE):
            url = Variable(store_url(self._environ[STORE_VARIABLE], STORE_VARIABLE))
            found["store"] = found.get("store", {}) | {"url": url}
        return found


# ---- what is wrong --------------------------------------------------------------------------------------------------


def variable_of(loc: Loc) -> str:
    """Return the environment variable that stands for a key."""
    return PREFIX + BETWEEN.join(str(part) for part in loc).upper()


def _invalid(problems: list[ErrorDetails], environ: Mapping[str, str]) -> InvalidSetting:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    loc = tuple(first["loc"])
    key = next((position for position, part in enumerate(loc) if isinstance(part, int)), len(loc))
    variable = variable_of(loc[:key])
    name = f"{_dotted(loc)} ({variable})" if variable in environ else _dotted(loc)
    return InvalidSetting(name, _reason(first, loc) + more)


def _reason(problem: ErrorDetails, loc: Loc) -> str:
    if problem["type"] == "extra_forbidden":
        return f"there is no such key; there are {', '.join(_known(loc[:-1]))}"
    if problem["type"] == "missing":
        return "it is needed"
    if problem["type"] == "value_error":
        if loc == ("store", "url"):
            return "a URL is needed, such as sqlite:///refunds.db"
        return problem["msg"].removeprefix("Value error, ")
    if loc and isinstance(loc[-1], int):
        return 'a table is needed, such as { id = "2026", secret_file = "…" }'
    return "a table is needed, such as [gateways.evonet]"


def _known(loc: Loc) -> list[str]:
    """Return the keys of a table."""
    model: Any = Settings
    for part in loc:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:  # noqa: ANN401 - an annotation
    """Return the model an annotation names, also inside of a tuple."""
    inner = getattr(annotation, "__args__", (annotation,))
    return next(each for each in inner if isinstance(each, type) and issubclass(each, BaseModel))


def _dotted(loc: Loc) -> str:
    words = ""
    for part in loc:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            words += ("." if words else "") + (part if _PLAIN_NAME.fullmatch(part) else "****")
    return words
