"""Simulated devices "privateuseone:N": tensors that claim to be there while their data is on the CPU.

An operation on tensors of two such devices is an error, as it is between two GPUs; only tensors of a single number may
come from the CPU. Installing the backend cannot be undone: use it in a process of its own.
"""

from typing import Any, Self

import torch
import torch.utils.backend_registration as registration
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

KIND = "privateuseone"


class Elsewhere(torch.Tensor):
    """A tensor that claims to be on a simulated device, with its data in a CPU tensor, `held`."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, device: torch.device) -> Self:
        tensor: Self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )
        tensor.held = held
        return tensor

    def tolist(self) -> Any:
        """The numbers of `held`: torch refuses this for subclasses."""
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(function, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Makes `torch.tensor` create tensors on simulated devices; dispatch modes do not see that function."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.tensor and (device := kwargs.pop("device", None)) is not None:
            return torch.tensor(*args, **kwargs).to(device)
        return function(*args, **kwargs)


class Devices(TorchDispatchMode):
    """While this context is open, tensors can be created on and moved to simulated devices."""

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
        return _run(function, args, kwargs or {})


def install() -> None:
    """Register the kind of device with torch, which cannot be undone."""
    registration._setup_privateuseone_for_python_backend()


def _run(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operation on the CPU; the result claims to be on the requested device, or on that of its arguments."""
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    devices = {tensor.device for tensor in tensors if tensor.dim() or isinstance(tensor, Elsewhere)}
    if len(devices) > 1 and function not in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
        raise RuntimeError(f"{function}: tensors on {', '.join(sorted(map(str, devices)))}")
    device = tensors[0].device if function is torch.ops.aten.copy_.default else next(iter(devices), torch.device("cpu"))
    if kwargs.get("device") is not None:
        device = torch.device(kwargs["device"])
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = function(*_held(args), **_held(kwargs))
    by_number = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, Elsewhere)}

    def on_device(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or device.type != KIND:
            return leaf
        return by_number[id(leaf)] if id(leaf) in by_number else Elsewhere(leaf, device)

    return tree_map(on_device, result)


def _held(tree: Any) -> Any:
    """The same arguments with CPU tensors instead of those that claim to be elsewhere."""
    return tree_map(lambda leaf: leaf.held if isinstance(leaf, Elsewhere) else leaf, tree)
