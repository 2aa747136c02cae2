"""Objects that people ask for by name: from a registry, or by "module:function" from a module of their own."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Collection, Mapping
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
    build = _find(name, registry, kind)
    if name in registry:
        return build(**settings)
    try:
        inspect.signature(build).bind(**settings)
    except (TypeError, ValueError) as error:
        arguments = ", ".join(settings) or "no argument"
        raise UserError(f"{kind} {name}: it is called with {arguments}, but {error}") from error
    try:
        return build(**settings)
    except UserError:
        raise
    except Exception as error:  # a user's function may do anything
        raise UserError(f"{kind} {name} failed: {type(error).__name__}: {error}") from error


def accepted_settings(
    name: str, registry: Mapping[str, Callable[..., Any]], kind: str, settings: Collection[str]
) -> list[str]:
    """Which of these settings are arguments of what `name` stands for.

    Raises
    ------
    UserError
        If there is no such name, module or function.
    """
    build = _find(name, registry, kind)
    try:
        parameters = inspect.signature(build).parameters
    except (TypeError, ValueError):  # of some functions that are not written in Python
        return list(settings)
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return list(settings)
    return [setting for setting in settings if setting in parameters]


def _find(name: str, registry: Mapping[str, Callable[..., Any]], kind: str) -> Callable[..., Any]:
    check_name(name, registry, kind)
    module, _, function = name.partition(":")
    return registry[name] if name in registry else _imported(module, function, kind)


def _imported(module: str, function: str, kind: str) -> Callable[..., Any]:
    if os.getcwd() not in sys.path:  # an installed command does not look for modules in the current folder
        sys.path.append(os.getcwd())
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module.partition(".")[0] or error.name == module:
            remedy = "run this in the folder that holds the module, without .py"
        else:
            remedy = f"{module} imports it: install it"
        raise UserError(f"{kind} {module}:{function}: {error}; {remedy}") from error
    except Exception as error:  # importing runs a user's module
        raise UserError(f"{kind} {module}:{function}: {type(error).__name__} in importing it: {error}") from error
    build = getattr(found, function, None)
    if isinstance(build, type) or inspect.isroutine(build):
        return build
    if build is None:
        raise UserError(f"{kind} {module}:{function}: {found.__file__} has no {function}")
    raise UserError(f"{kind} {module}:{function}: expected a function or a class, got {type(build).__name__}")
