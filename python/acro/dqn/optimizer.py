"""Parameters in one flat tensor, so that clipping, Adam and the target's update are one operation each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn


# An evaluation may be the first to act, and what is made in its inference mode could never be trained.
@torch.inference_mode(False)
def flatten_parameters(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return one flat tensor that holds all `parameters`, which become views of it.

    Parameters that share a flat tensor already keep it. Move the module to its device first: moving it later gives
    each parameter storage of its own again.

    Raises:
        ValueError: There are no parameters, or they differ in dtype or device.
    """
    parameters = list(parameters)
    kinds = {(parameter.dtype, parameter.device) for parameter in parameters}
    if len(kinds) != 1:
        raise ValueError(f"parameters must share one dtype and one device, found {kinds or 'no parameters'}")
    first, size = parameters[0].detach(), sum(parameter.numel() for parameter in parameters)
    ends = accumulate(parameter.nbytes for parameter in parameters)
    if (
        all(
            following.data_ptr() == first.data_ptr() + end and following.is_contiguous()
            for following, end in zip(parameters[1:], ends, strict=False)
        )
        and first.untyped_storage().nbytes() >= (first.storage_offset() + size) * first.itemsize
    ):
        return first.as_strided((size,), (1,))
    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    for parameter, view in zip(parameters, _views(flat, parameters), strict=True):
        parameter.data = view
    return flat


def restore_views(flat: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Make every parameter a view of `flat` again, with its value; `parameter.data = ...` gives it other storage."""
    address = flat.data_ptr()
    for index, parameter in enumerate(parameters):
        if parameter.data_ptr() != address:
            view = _views(flat, parameters)[index]
            parameter.data = view.copy_(parameter.detach())
        address += parameter.nbytes


def _views(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    parts = torch.split(flat, [parameter.numel() for parameter in parameters])
    return [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]


class FlatAdam(torch.optim.Adam):
    """Adam (Kingma and Ba 2015) with one parameter, the flat tensor of all `parameters`.

    Gradients are views of a flat tensor too: `zero_grad` clears it in place and never sets it to None.

    Args:
        parameters: The parameters to train; they become views of the flat tensor.
        lr: Learning rate.
        eps: Added to the root of the second moment.
    """

    is_stepped = False
    """Whether the steps of this round were made already, and `step` must not make another."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, eps: float = 1e-8) -> None:
        self.parameters = list(parameters)
        self.flat = nn.Parameter(flatten_parameters(self.parameters))
        self.flat_grad = torch.zeros_like(self.flat)
        self._gradients = _views(self.flat_grad, self.parameters)
        # The same memory, without autograd.
        self._values = self.flat.detach()
        self._one = torch.ones((), device=self.flat.device)
        super().__init__([self.flat], lr=lr, eps=eps, fused=True)
        self.state[self.flat] = {
            "step": torch.zeros((), device=self.flat.device),
            "exp_avg": torch.zeros_like(self.flat),
            "exp_avg_sq": torch.zeros_like(self.flat),
        }
        self.zero_grad()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients in place, and restore the views that were replaced."""
        restore_views(self._values, self.parameters)
        self.tie_gradients()
        self.flat_grad.zero_()

    def tie_gradients(self) -> None:
        """Copy gradients that were assigned, `parameter.grad = ...`, into the flat tensor; make them views again."""
        if self.flat.grad is not self.flat_grad:
            self.flat.grad = self.flat_grad
        for parameter, view in zip(self.parameters, self._gradients, strict=True):
            if parameter.grad is not view:
                if parameter.grad is None:
                    view.zero_()
                else:
                    view.copy_(parameter.grad)
                parameter.grad = view

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step of Adam; `closure` is called first, and its result is returned."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        if not self.is_stepped:
            self.tie_gradients()
            frozen = [parameter for parameter in self.parameters if not parameter.requires_grad]
            values = [parameter.detach().clone() for parameter in frozen]
            self.step_by(self.param_groups[0]["lr"])
            for parameter, value in zip(frozen, values, strict=True):
                # Their moments would move them on.
                parameter.detach().copy_(value)
        return result

    def step_by(self, lr: float | Tensor) -> None:
        """Make a step with the learning rate `lr`; as a tensor () it can change between replays of a CUDA graph.

        This calls the kernel of torch's `Adam.step` directly, in 12 us instead of 150: most of the difference is torch
        looking for an accelerator.
        """
        (group,), state = self.param_groups, self.state[self.flat]
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            [self._values],
            [self.flat_grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            # Adding a tensor: a number would be converted to one in every step.
            [state["step"].add_(self._one)],
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )
