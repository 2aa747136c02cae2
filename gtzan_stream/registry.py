"""Build objects by name: from a registry, or with "module:function" from a user's own module."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gtzan_stream.errors import UserError
from gtzan_stream.words import short_repr


def check_name(name: str, registry: Mapping[str, Callable[..., Any]], kind: str) -> None:
    """Raise UserError with the names in `registry`, unless `name` is one of them or has the form "module:function"."""
    module, _, function = name.partition(":")
    if name not in registry and not (module and function):
        raise UserError(
            f"there is no {kind} {short_repr(name)}; there are {', '.join(registry)}, and module:function for one of "
            "your own"
        )


def check_importable(name: str, option: str) -> None:
    """Raise UserError unless `name` has the form "module:function", and that function can be imported."""
    module, _, function = name.partition(":")
    if not (module and function):
        raise UserError(f"{option} {short_repr(name)}: write module:function, such as own_transform:Echo")
    _import_function(module, function, option)


def build_by_name(name: str, registry: Mapping[str, Callable[..., Any]], kind: str, **settings: object) -> Any:
    """Call the function with this name with `settings`, and return its result.

    Parameters
    ----------
    name : str
        A key of `registry`, or "module:function": a function or class in a module that is installed or lies in the
        current folder.
    registry : mapping of str to callable
    kind : str
        What the name stands for, for error messages: "feature".
    settings
        Keyword arguments.

    Raises
    ------
    UserError
        If there is no such name, module or function, it does not accept `settings`, or it fails.
    """
    build = _find(name, registry, kind)
    if name in registry:
        return build(**settings)
    try:
        inspect.signature(build).bind(**settings)
    except (TypeError, ValueError) as error:
        arguments = ", ".join(settings) or "no argument"
        raise UserError(f"{kind} {name}: the function is called with {arguments}, but {error}") from error
    try:
        return build(**settings)
    except UserError:
        raise
    except Exception as error:  # A user's function may raise anything.
        raise UserError(f"{kind} {name} failed: {type(error).__name__}: {error}") from error


def accepted_settings(
    name: str, registry: Mapping[str, Callable[..., Any]], kind: str, settings: Collection[str]
) -> list[str]:
    """Return those of `settings` that the function with this name accepts as arguments.

    Raises
    ------
    UserError
        If there is no such name, module or function.
    """
    build = _find(name, registry, kind)
    try:
        parameters = inspect.signature(build).parameters
    except (TypeError, ValueError):  # Some functions that are not written in Python have no signature.
        return list(settings)
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return list(settings)
    return [setting for setting in settings if setting in parameters]


def _find(name: str, registry: Mapping[str, Callable[..., Any]], kind: str) -> Callable[..., Any]:
    check_name(name, registry, kind)
    module, _, function = name.partition(":")
    return registry[name] if name in registry else _import_function(module, function, kind)


def _import_function(module: str, function: str, kind: str) -> Callable[..., Any]:
    if os.getcwd() not in sys.path:  # Installed commands do not search the current folder for modules.
        sys.path.append(os.getcwd())
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module.partition(".")[0] or error.name == module:
            remedy = "give its name without .py, and run this in the folder that holds it"
        else:
            remedy = f"{module} imports it, so install it"
        raise UserError(f"{kind} {module}:{function}: {error}; {remedy}") from error
    except Exception as error:  # Importing a user's module may raise anything.
        raise UserError(f"{kind} {module}:{function}: {type(error).__name__} on import: {error}") from error
    build = getattr(found, function, None)
    if isinstance(build, type) or inspect.isroutine(build):
        return build
    if build is None:
        raise UserError(f"{kind} {module}:{function}: {found.__file__} has no {function}")
    raise UserError(f"{kind} {module}:{function}: expected a function or a class, got {type(build).__name__}")
