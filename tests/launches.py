"""Count what a GPU would be asked to do, without one: meta tensors take its path, and kernels are not launched.

As all meta tensors have the address 0, `Transform.apply` takes its output for a view of the input: the counts have one
`clone` that a GPU does not do.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from gtzan_stream.dsp import backend
from tests.test_kernels import CASES

ALLOCATIONS = {"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided"}


class _Calls(TorchDispatchMode):
    """Counts the operators of torch that a GPU computes or copies: all but views and allocations."""

    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator._schema.name.removeprefix("aten::")
        if not operator.is_view and name not in ALLOCATIONS and name != "_unsafe_view":
            self.found[name] += 1
        return operator(*args, **kwargs or {})


class _Kernel:
    """Counts the launches of a Triton kernel instead of launching it."""

    def __init__(self, name: str, found: Counter[str]) -> None:
        self.name, self.found = name, found

    def __getitem__(self, grid: object) -> Callable:
        def launch(*arguments: object, **options: object) -> None:
            self.found[f"triton:{self.name}"] += 1

        return launch


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count operators and launches on float32 meta tensors, which take the path of a GPU with Triton."""
    found: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "_usable_kernels", lambda device: ["triton", "torch"])
        for module, kernel in {case[:2] for case in CASES}:
            patch.setattr(import_module(f"gtzan_stream.kernels.{module}"), kernel, _Kernel(kernel, found))
        with _Calls(found):
            yield found
