"""What a subclass or a single object overrides or watches: a faster implementation must not replace that."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

# A module's hooks that are called while it computes or its gradients are computed.
MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def overridden(instance: object, base: type, names: Iterable[str]) -> list[str]:
    """Return those of the methods `names` of `base` that the class of `instance`, or `instance` itself, overrides."""
    return [
        name for name in names if name in vars(instance) or getattr(type(instance), name) is not getattr(base, name)
    ]


def has_module_hooks(network: nn.Module) -> bool:
    """Whether a module in `network` has hooks."""
    return any(getattr(module, hooks) for module in network.modules() for hooks in MODULE_HOOKS)


def has_gradient_hooks(network: nn.Module) -> bool:
    """Whether a parameter of `network` has hooks for its gradient."""
    return any(
        parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None)
        for parameter in network.parameters()
    )
