"""A round of updates as one CUDA graph: launching a kernel costs more than it computes for networks this small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

# Of a tensor within the shared buffer, in bytes; more than any kernel asks for.
_ALIGNMENT = 256
# Libraries set themselves up in the first calls, which a graph cannot hold.
_WARM_UP_ROUNDS = 3


class StaticInputs:
    """Tensors that stay in one place on a device, filled by a single copy from pinned memory.

    Args:
        like: Tensors of the same names, shapes and dtypes.
        device: Where they are.
    """

    def __init__(self, like: Mapping[str, Tensor], device: torch.device) -> None:
        sizes = [-(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT for tensor in like.values()]
        self._pinned = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._buffer = torch.empty_like(self._pinned, device=device)
        self._starts = dict(zip(like, accumulate(sizes, initial=0), strict=False))
        self._sources = self._views(self._pinned, like)
        self.tensors = self._views(self._buffer, like)

    def fill(self, values: Mapping[str, Tensor]) -> None:
        """Copy `values`; the copy before must have been waited for, as asking for any result does."""
        for name, source in self._sources.items():
            source.copy_(values[name])
        self._buffer.copy_(self._pinned, non_blocking=True)

    def _views(self, buffer: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: buffer[start : start + like[name].nbytes].view(like[name].dtype).view(like[name].shape)
            for name, start in self._starts.items()
        }


class CapturedRound:
    """What `updates` does, as one CUDA graph; where there is no CUDA, it is called each time.

    Args:
        updates: Takes the inputs, on `device`, changes `changed` in place and nothing else, and returns a tensor. It
            must do the same operations each time and ask the device for no number.
        inputs: The first round's, on the CPU.
        changed: They are as they were after the capture, which runs `updates` a few times.
        device: Where everything happens.
    """

    def __init__(
        self,
        updates: Callable[[Mapping[str, Tensor]], Tensor],
        inputs: Mapping[str, Tensor],
        changed: Sequence[Tensor],
        device: torch.device,
    ) -> None:
        self._updates = updates
        self._inputs = StaticInputs(inputs, device)
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda":
            self._inputs.fill(inputs)
            self._capture(changed, device)

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Do a round with `inputs`, of the first ones' shapes; what it returns is overwritten by the next."""
        self._inputs.fill(inputs)
        if self._graph is None:
            return self._updates(self._inputs.tensors)
        self._graph.replay()
        return self._outputs

    def _capture(self, changed: Sequence[Tensor], device: torch.device) -> None:
        before = [tensor.detach().clone() for tensor in changed]
        current = torch.cuda.current_stream(device)
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_ROUNDS):
                self._updates(self._inputs.tensors)
        current.wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self._updates(self._inputs.tensors)
        with torch.no_grad():
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
