"""Objects that people ask for by name: from a registry, or by "module:function" from a module of their own."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from gtzan_stream.errors import UserError


def check_name(name: str, registry: Mapping[str, Callable[..., Any]], kind: str) -> None:
    """Raise UserError, listing `registry`, unless `name` is a key of it or has the form "module:function"."""
    module, _, function = name.partition(":")
    if name not in registry and not (module and function):
        raise UserError(
            f"there is no {kind} {name!r}; there are {', '.join(registry)}, and module:function for one of your own"
        )


def build_named(name: str, registry: Mapping[str, Callable[..., Any]], kind: str, **settings: object) -> Any:
    """Call what `name` stands for with `settings`.

    Parameters
    ----------
    name : str
        A key of `registry`, or "module:function": a function (or class) of a module that can be imported from the
        current folder or is installed.
    registry : mapping of str to callable
    kind : str
        What to call it in an error.

    Raises
    ------
    UserError
        If there is no such name, module or function, or it does not take `settings`.
    """
    check_name(name, registry, kind)
    if name in registry:
        return registry[name](**settings)
    module, _, function = name.partition(":")
    build = _imported(module, function, kind)
    try:
        inspect.signature(build).bind(**settings)
    except (TypeError, ValueError) as error:
        arguments = ", ".join(settings) or "no argument"
        raise UserError(f"{kind} {name}: it is called with {arguments}, but {error}") from error
    return build(**settings)


def _imported(module: str, function: str, kind: str) -> Callable[..., Any]:
    if os.getcwd() not in sys.path:  # an installed command does not look for modules in the current folder
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise UserError(f"{kind} {module}:{function}: {error}; run this in the folder that holds the module") from error
    except AttributeError as error:
        raise UserError(f"{kind} {module}:{function}: {error}") from error
    if not callable(found):
        raise UserError(f"{kind} {module}:{function}: expected a function or a class, got {type(found).__name__}")
    return found
