"""Command-line options generated from `Config`, so that names, types, defaults and help are written once."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import typer

from gtzan_stream.training.config import Config


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Replace the signature of `function`: typer sees an option ``--resume`` and one for each setting of `Config`.

    Options that were not given are None, so that a resumed run keeps its own settings.
    """
    hints = get_type_hints(Config)
    parameters = [_parameter("resume", Path | None, "Continue the run of this folder, from its last checkpoint.")]
    for entry in dataclasses.fields(Config):
        default = "" if entry.default is None else f" (default: {entry.default})"
        choices = "|".join(entry.metadata["choices"]) or None
        parameters.append(_parameter(entry.name, hints[entry.name] | None, entry.metadata["help"] + default, choices))
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def _parameter(name: str, kind: Any, words: str, metavar: str | None = None) -> inspect.Parameter:
    option = typer.Option(None, help=words, show_default=False, metavar=metavar)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)
