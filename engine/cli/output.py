"""Output: people read tables and sentences, programs read JSON on standard output and nothing else.

Values that came from messages never reach a terminal as they are: control characters go, and what looks like markup
is printed as it stands. Whatever goes to standard error also loses configured keys and full card numbers.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console
from rich.text import Text

from ..domain.identifiers import displayed
from ..domain.masking import mask_text
from ..errors import RowCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

_STANDARD_ERROR: Final = 2
_GENEROUS: Final = 1_000
"""Columns where the output is no terminal: nothing is cut or wrapped for a file or another program."""
PROSE: Final = 100
"""Sentences are wrapped at this width, or at the terminal's where that is less."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a closed pipe to the caller; Rich would end the process here."""
        raise BrokenPipeError


def open_streams() -> None:
    """Write to nowhere where the caller has closed standard output or error; a command does its work all the same."""
    # Their descriptors too: a store's file opened as number 1 or 2 could be written to by whoever prints.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = _nowhere()
    if sys.stderr is None:
        sys.stderr = _nowhere()


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _console(file: TextIO) -> Console:
    narrow = file.isatty() or "COLUMNS" in os.environ
    return _Console(
        file=file, markup=False, highlight=False, emoji=False, width=None if narrow else _GENEROUS
    )


def plain(value: object) -> str:
    """Return a value as one line that is safe on a terminal."""
    return displayed(str(value))


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return how many there are; of several it says `many`, by default `one` with an s."""
    return f"1 {one}" if number == 1 else f"{number} {many or one + 's'}"


class Output:
    """Where a command writes: `out` for what was asked for, `err` for warnings, progress and errors."""

    def __init__(self) -> None:
        """Write to the standard streams as they are now."""
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)
        self.secrets: Sequence[str] = ()

    # ---- for people

    def show(self, thing: RenderableType) -> None:
        """Print a table or text; text is never broken inside a line."""
        self.out.print(thing, soft_wrap=isinstance(thing, Text))

    def say(self, words: object = "", style: str = "") -> None:
        """Print one line."""
        self.show(Text(plain(words), style))

    def prose(self, words: str, *, indent: str = "", style: str = "") -> None:
        """Print sentences, wrapped between words and never inside one."""
        for line in wrapped(words, min(self.out.width, PROSE), indent):
            self.show(Text(line, style))

    def note(self, words: object) -> None:
        """Print one line on standard error."""
        self.err.print(Text(self.guarded(words)), soft_wrap=True)

    def warn(self, words: object) -> None:
        """Print a warning on standard error."""
        self._labelled("warning", "yellow", words)

    def error(self, words: object) -> None:
        """Print an error on standard error."""
        self._labelled("error", "bold red", words)

    def _labelled(self, label: str, style: str, words: object) -> None:
        self.err.print(Text.assemble((f"{label}: ", style), self.guarded(words)), soft_wrap=True)

    def guarded(self, words: object) -> str:
        """Return words as standard error may show them: without keys, full card numbers and control characters."""
        text = plain(words)
        for secret in self.secrets:
            text = text.replace(plain(secret), "****")
        return mask_text(text)

    # ---- for programs

    def verbatim(self, page: str) -> None:
        """Print a page as it is; nothing in it came from a message."""
        sys.stdout.write(page)

    def json(self, value: object) -> None:
        """Print one JSON value."""
        sys.stdout.write(json.dumps(value, indent=2) + "\n")

    def json_array(self, values: Iterable[object]) -> None:
        """Print a JSON array, one value a line, while the values come."""
        try:
            _write_array(values)
        finally:
            sys.stdout.write("\n")

    def json_arrays(self, named: Iterable[tuple[str, Iterable[object]]]) -> None:
        """Print a JSON object of arrays while their values come."""
        before = "{"
        damaged: RowCorrupt | None = None
        for name, values in named:
            sys.stdout.write(f"{before}{json.dumps(name)}: ")
            try:
                _write_array(values)
            except RowCorrupt as error:  # the other arrays are whole
                damaged = damaged or error
            before = ",\n"
        sys.stdout.write("}\n")
        if damaged is not None:
            raise damaged


def _write_array(values: Iterable[object]) -> None:
    before = "[\n"
    try:
        for value in values:
            sys.stdout.write(before + json.dumps(value))
            before = ",\n"
    finally:  # an error behind the last value must not make those before it unreadable
        sys.stdout.write("[]" if before == "[\n" else "\n]")


def wrapped(words: str, width: int, indent: str = "") -> list[str]:
    """Return the lines of a sentence; a word that is longer than the line stays whole."""
    return textwrap.wrap(
        plain(words),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
