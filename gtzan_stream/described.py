"""Describe transforms and features as JSON, and build them from it, for the feature service.

A description is a name that `--augment` or `--features` takes, or an object with a class and all its arguments::

    {"class": "Compose", "transforms": [{"class": "Identity"}, {"class": "Percussive", "p": 0.5}], "p": 1.0}

As in scikit-learn, each argument of a constructor is an attribute of the same name. An object is described only if the
object that is built from its description has the same state, so that its draws and features are equal to the bit.

Descriptions come from a network. They build only public classes of the package, of limited size, and call functions of
other modules only if the server allows it.
"""

import inspect
import sys
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, islice
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import numpy as np
import torch
from torch import Tensor, nn

from gtzan_stream import augment as augmentations
from gtzan_stream.augment import Audiomentations, Transform, recipes
from gtzan_stream.errors import UserError
from gtzan_stream.features import REGISTRY, build, check
from gtzan_stream.registry import check_name
from gtzan_stream.words import short_repr

Description = str | dict[str, Any]
Classes = Mapping[str, type[nn.Module]]

MAX_DEPTH = 16
MAX_TRANSFORMS = 256
_PUBLIC = [getattr(augmentations, name) for name in augmentations.__all__]
TRANSFORMS: Classes = {
    cls.__name__: cls
    for cls in _PUBLIC
    if isinstance(cls, type) and issubclass(cls, Transform) and cls not in (Transform, Audiomentations)
}
FEATURES: Classes = {cls.__name__: cls for cls in REGISTRY.values() if isinstance(cls, type)}
_CHANGED_BY_USE = {"calls", "training", "num_samples"}  # num_samples: nnAudio notes the length of its last input
_REMEDY = (
    'write a function without arguments that builds it, name it "module:function", and start the service with '
    "--allow module:function"
)


def describe_transform(augment: str | Transform) -> Description:
    """Describe a transform, or check the name of a recipe and return it.

    Raises
    ------
    UserError
        If there is no such recipe, or the transform's class is not in `TRANSFORMS`, or it was changed after it was
        built, or it is larger than a description may be.

    Examples
    --------
    >>> from gtzan_stream.augment import Gain
    >>> describe_transform(Gain.in_db(-20, 0, p=0.5))
    {'class': 'Gain', 'min_gain': 0.1, 'max_gain': 1.0, 'logarithmic': True, 'p': 0.5}
    """
    if isinstance(augment, str):
        recipes.check(augment)
        return augment
    return _describe("augment", recipes.as_transform(augment), TRANSFORMS)


def build_transform(description: object, allow: Collection[str] = ()) -> Transform:
    """Build the transform that was described.

    Parameters
    ----------
    description : str or dict
        Returned by `describe_transform`; any other value that JSON can hold is refused.
    allow : collection of str
        Names of the form "module:function" that may be imported and called.

    Raises
    ------
    UserError
        If nothing can be built from the description.
    """
    if isinstance(description, str):
        recipes.check(description)
        if description.partition(":")[0] not in recipes.VARIANTS:
            _check_allowed("augment", description, allow)
        return recipes.recipe(description)
    transform = _build("augment", description, TRANSFORMS)
    assert isinstance(transform, Transform)
    return transform


def describe_features(features: str | nn.Module) -> Description:
    """Describe a feature, or check the name of one and return it.

    Raises
    ------
    UserError
        If there is no such feature, or its class is not in `FEATURES`, or it was changed after it was built.

    Examples
    --------
    >>> from gtzan_stream.features import RawWaveform
    >>> describe_features(RawWaveform(sample_rate=16000))
    {'class': 'RawWaveform', 'sample_rate': 16000, 'frames': 66150}
    """
    if isinstance(features, str):
        check_name(features, REGISTRY, "feature")
        return features
    return _describe("features", check(features), FEATURES)


def build_features(description: object, allow: Collection[str] = ()) -> nn.Module:
    """Build the feature that was described, as `build_transform` does for transforms."""
    if isinstance(description, str):
        check_name(description, REGISTRY, "feature")
        _check_allowed("features", description, allow)
        return build(description)
    return _build("features", description, FEATURES)


# --- from objects to JSON ---------------------------------------------------------------------------------------------


def _describe(what: str, module: nn.Module, classes: Classes) -> Description:
    """Describe `module`, build it from the description, and raise UserError if the two differ."""
    built = _build(what, _arguments_of(what, module, classes), classes)
    if changed := _difference(module, built):
        raise _refusal(what, module, f"it was changed after it was built ({changed})")
    return _arguments_of(what, built, classes)


def _arguments_of(what: str, module: nn.Module, classes: Classes) -> dict[str, Any]:
    """Return the class of a module and its arguments, with the members of a chain in the same form."""
    cls = type(module)
    if cls is Audiomentations:
        raise _refusal(what, module, "it holds objects of another library")
    if classes.get(cls.__name__) is not cls:
        raise _refusal(what, module, f"its class is not one of gtzan_stream's: {', '.join(classes)}")
    arguments = {name: getattr(module, name) for name in inspect.signature(cls).parameters}
    for name, value in arguments.items():
        if isinstance(value, nn.ModuleList):
            arguments[name] = [_arguments_of(what, member, classes) for member in value]
    return {"class": cls.__name__, **arguments}


def _refusal(what: str, module: nn.Module, reason: str) -> UserError:
    return UserError(f"{what}: {type(module).__name__} cannot be described as JSON, because {reason}; {_REMEDY}")


def _difference(module: nn.Module, built: nn.Module) -> str | None:
    """Return the path of the first attribute, buffer, parameter or child in which two modules differ."""
    given, expected = _state(module), _state(built)
    for name in sorted(given.keys() | expected.keys()):
        if name not in given or name not in expected:
            return name
        one, other = given[name], expected[name]
        if isinstance(one, nn.Module) and type(one) is type(other):
            if path := _difference(one, other):
                return f"{name}.{path}"
        elif not _is_equal(one, other):
            return name
    return None


def _state(module: nn.Module) -> dict[str, Any]:
    """Return all attributes, parameters, buffers and children of a module that affect its results."""
    containers = ("_parameters", "_buffers", "_modules")
    own = {name: value for name, value in vars(module).items() if name not in {*containers, *_CHANGED_BY_USE}}
    return own | module._parameters | module._buffers | module._modules


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other  # 1 and 1.0 are equal; _checked refuses True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


# --- from JSON to objects ---------------------------------------------------------------------------------------------


def _check_allowed(what: str, name: str, allow: Collection[str]) -> None:
    """Raise UserError if `name` is a function of a module that the server does not allow."""
    if ":" in name and name not in allow:
        name = short_repr(name)
        raise UserError(f"{what}: {name} is not allowed; start the service with --allow {name}")


def _build(what: str, description: object, classes: Classes) -> nn.Module:
    """Build what is described, after a check of its size without recursion."""
    level, n_modules = [description], 1
    for _ in range(MAX_DEPTH):
        level = list(islice(chain.from_iterable(map(_members, level)), MAX_TRANSFORMS))
        n_modules += len(level)
    if level or n_modules > MAX_TRANSFORMS:
        raise UserError(
            f"{what}: a description holds {MAX_TRANSFORMS} transforms, nested {MAX_DEPTH} deep, at most; use fewer, or "
            f"{_REMEDY}"
        )
    return _build_one(what, description, classes)


def _members(description: object) -> list[object]:
    members = description.get("transforms") if isinstance(description, dict) else None
    return members if isinstance(members, list) else []


def _build_one(what: str, description: object, classes: Classes) -> nn.Module:
    name = description.get("class") if isinstance(description, dict) else None
    if not isinstance(description, dict) or not isinstance(name, str) or name not in classes:
        found = short_repr(description if name is None else name)
        raise UserError(
            f"{what}: expected a name or a description with one of the classes {', '.join(classes)}, got {found}; for "
            f"one of your own, {_REMEDY}"
        )
    parameters = inspect.signature(classes[name], eval_str=True).parameters
    given = {argument: value for argument, value in description.items() if argument != "class"}
    if given.keys() != parameters.keys():
        wanted = f"arguments {', '.join(parameters)}" if parameters else "no arguments"
        raise UserError(f"{what}: a description of {name} has {wanted}, got {short_repr([*given])}")
    arguments = {
        argument: _checked(what, f"{name}: {argument}", given[argument], parameter.annotation, classes)
        for argument, parameter in parameters.items()
    }
    try:
        return classes[name](**arguments)
    except ValueError as error:
        raise UserError(f"{what}: {name}: {str(error).removeprefix(f'{name}: ')}") from error


def _checked(what: str, where: str, value: Any, kind: Any, classes: Classes) -> Any:
    """Return a value of JSON as an argument of the type `kind`, or raise UserError."""
    options = get_args(kind)
    if NoneType in options:
        return None if value is None else _checked(what, where, value, options[0], classes)
    if get_origin(kind) is Literal:
        is_right, expected = value in options, f"one of {', '.join(options)}"
    elif kind is float:
        is_right, expected = type(value) in (int, float) and abs(value) <= sys.float_info.max, "a finite number"
    elif kind is int:
        is_right, expected = type(value) is int and abs(value) < 2**63, "a whole number"
    elif kind is bool:
        is_right, expected = type(value) is bool, "true or false"
    elif kind is str:
        is_right, expected = type(value) is str, "a text"
    else:  # Iterable[Transform] or Sequence[float]
        is_right, expected = type(value) is list, "a list"
    if not is_right:
        raise UserError(f"{what}: {where} must be {expected}, got {short_repr(value)}")
    if get_origin(kind) is Iterable:
        return [_build_one(what, member, classes) for member in value]
    if isinstance(value, list):
        return [_checked(what, where, member, options[0], classes) for member in value]
    return float(value) if kind is float else value
