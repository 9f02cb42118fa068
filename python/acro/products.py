"""Matrix products of a network's layers, by whichever of PyTorch's libraries is the faster one for their size."""

from __future__ import annotations

import torch
from torch import Tensor

# MKL, which `torch.mm` calls, leaves AVX-512 unused on AMD's processors: on a Zen 5 core oneDNN takes half its time for
# 128 x 256 x 256, and three quarters for 128 x 128 x 128. A call of oneDNN costs about 10 us more, so small products,
# of 64 x 64 say, stay where they are.
_HAS_FAST_ONEDNN = torch.backends.mkldnn.is_available() and (  # type: ignore[no-untyped-call]
    torch.backends.cpu.get_cpu_capability() == "AVX512"
)
_LEAST_MULTIPLICATIONS = 1_500_000


def linear(inputs: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """Return inputs (B, n) @ weight.T (n, m) + bias (m,), rectified if `relu`; nothing for autograd."""
    if _is_for_onednn(inputs, len(weight)):
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "relu" if relu else "none", [], "")
        return outputs
    outputs = torch.addmm(bias, inputs, weight.t())
    return outputs.relu_() if relu else outputs


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Return left (l, m) @ right (m, n), in `out` if it is given; nothing for autograd."""
    if not _is_for_onednn(left, right.shape[1]):
        return torch.mm(left, right, out=out)
    outputs: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return outputs if out is None else out.copy_(outputs)


def _is_for_onednn(left: Tensor, columns: int) -> bool:
    return _HAS_FAST_ONEDNN and left.numel() * columns >= _LEAST_MULTIPLICATIONS and not left.is_cuda
