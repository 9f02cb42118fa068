"""Matrix products of a network's layers, by whichever of PyTorch's libraries is the faster one for their size."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor


def is_zen_5(cpuinfo: str) -> bool:
    """Whether Linux's description of the processor is that of AMD's family 26, or of a later one."""
    family = re.search(r"^cpu family\s*: (\d+)$", cpuinfo, re.MULTILINE)
    return "AuthenticAMD" in cpuinfo and family is not None and int(family[1]) >= 26


def _read_cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


# MKL, which `torch.mm` calls, leaves AVX-512 unused on AMD's processors: on a Zen 5 core oneDNN takes half its time for
# 128 x 256 x 256, and three quarters for 128 x 128 x 128. Zen 4 does 512 bits in two halves, and gains nothing. A call
# of oneDNN costs about 10 us more, so small products, of 64 x 64 say, stay where they are.
_HAS_FAST_ONEDNN = torch.backends.mkldnn.is_available() and is_zen_5(_read_cpuinfo())  # type: ignore[no-untyped-call]
_LEAST_MULTIPLICATIONS = 1_500_000

# MKL is slow at a product of few columns, as a first layer's gradient is: made as its transpose of few rows and then
# copied, one of 256 x 128 x 6 takes 12 us where it took 45. From here on that is no gain.
_MANY_COLUMNS = 16


def linear(inputs: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """Return inputs (B, n) @ weight (n, m) + bias (m,), rectified if `relu`; nothing for autograd."""
    if _HAS_FAST_ONEDNN and _is_for_onednn(inputs, weight):
        activation = "relu" if relu else "none"
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight.t(), bias, activation, [], "")
        return outputs
    outputs = torch.addmm(bias, inputs, weight)
    return outputs.relu_() if relu else outputs


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Return left (l, m) @ right (m, n), in `out` if it is given; nothing for autograd."""
    if out is not None and out.shape[1] < _MANY_COLUMNS and not out.is_cuda:
        return out.copy_(torch.mm(right.t(), left.t()).t())
    if not (_HAS_FAST_ONEDNN and _is_for_onednn(left, right)):
        return torch.mm(left, right, out=out)
    outputs: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return outputs if out is None else out.copy_(outputs)


def _is_for_onednn(left: Tensor, right: Tensor) -> bool:
    return left.numel() * right.shape[1] >= _LEAST_MULTIPLICATIONS and not left.is_cuda
