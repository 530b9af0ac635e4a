"""Optimisers of torch without the start of its compiler.

The first call of several methods of `torch.optim` imports `torch._dynamo` to keep the compiler out
of them: seconds of every fit, and none is compiled. The same methods are here without that wrapper.
"""

from __future__ import annotations

from inspect import unwrap

import torch


class _Uncompiled:
    """Methods that all optimisers share."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)


class Adam(_Uncompiled, torch.optim.Adam):
    """`torch.optim.Adam`."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(_Uncompiled, torch.optim.AdamW):
    """`torch.optim.AdamW`."""

    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
