"""Devices that a machine does not have: tensors said to lie on "privateuseone:N", whose numbers are on the CPU.

An operation on tensors of two such devices is an error, as it is between two GPUs, where single numbers alone may come
from the CPU. Installing the backend cannot be undone: use this in a process of its own.
"""

from typing import Any, Self

import torch
import torch.utils.backend_registration as registration
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

KIND = "privateuseone"


class Elsewhere(torch.Tensor):
    """A tensor that says it lies on another device than the CPU, where its numbers are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, device: torch.device) -> Self:
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        """Its numbers, which torch gives of no subclass."""
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _done(function, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Has `torch.tensor`, which no dispatch mode sees, make tensors on such devices."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.tensor and (device := kwargs.pop("device", None)) is not None:
            return torch.tensor(*args, **kwargs).to(device)
        return function(*args, **kwargs)


class Devices(TorchDispatchMode):
    """While this is open, tensors can be made on and moved to such devices."""

    def __enter__(self) -> Self:
        self._literals = _Literals()
        self._literals.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *how: Any) -> None:
        super().__exit__(*how)
        self._literals.__exit__(*how)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _done(function, args, kwargs or {})


def install() -> None:
    """Make the kind of device known to torch, for good."""
    registration._setup_privateuseone_for_python_backend()


def _done(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do one operation on the CPU; what it gives lies where its arguments lie, or where it is asked for."""
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    places = {tensor.device for tensor in tensors if tensor.dim() or isinstance(tensor, Elsewhere)}
    if len(places) > 1 and function not in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
        raise RuntimeError(f"{function}: tensors on {', '.join(sorted(map(str, places)))}")
    place = tensors[0].device if function is torch.ops.aten.copy_.default else next(iter(places), torch.device("cpu"))
    if kwargs.get("device") is not None:
        place = torch.device(kwargs["device"])
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = function(*_held(args), **_held(kwargs))
    by_number = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, Elsewhere)}

    def shown(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or place.type != KIND:
            return leaf
        return by_number[id(leaf)] if id(leaf) in by_number else Elsewhere(leaf, place)

    return tree_map(shown, found)


def _held(tree: Any) -> Any:
    """The same arguments with the tensors on the CPU in the place of those that say they are elsewhere."""
    return tree_map(lambda leaf: leaf.held if isinstance(leaf, Elsewhere) else leaf, tree)
