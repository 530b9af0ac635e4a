"""Optimisers do torch's own arithmetic, and do not import its compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from otcal.runtime.optimisers import Adam, AdamW

USE = """
import sys, torch
from otcal.runtime.optimisers import Adam, AdamW
for kind in (Adam, AdamW):
    weight = torch.zeros(3, requires_grad=True)
    optimiser = kind([weight], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 5)
    optimiser.zero_grad()
    (weight - 1.0).square().sum().backward()
    optimiser.step()
    schedule.step()
    optimiser.load_state_dict(optimiser.state_dict())
    assert weight.abs().min() > 0.0
sys.exit("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (Adam, torch.optim.Adam, {"betas": (0.9, 0.99), "fused": True}),
        (Adam, torch.optim.Adam, {"lr": 0.1}),
        (AdamW, torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.1}),
    ],
)
def test_steps_are_those_of_torch(
    ours: type[torch.optim.Optimizer],
    theirs: type[torch.optim.Optimizer],
    options: dict[str, Any],
) -> None:
    ends = []
    for kind in (ours, theirs):
        weight = torch.tensor([[0.3, -0.2], [1.0, 2.0]], requires_grad=True)
        optimiser = kind([{"params": [weight]}], **options)
        for number in range(4):
            optimiser.zero_grad()
            (weight @ weight - number).square().sum().backward()
            optimiser.step()
            optimiser.load_state_dict(optimiser.state_dict())
        assert weight.grad is not None
        assert not any(state["exp_avg"].requires_grad for state in optimiser.state.values())
        ends.append(weight.detach())
    assert torch.equal(*ends)


def test_the_compiler_is_not_imported() -> None:
    assert subprocess.run([sys.executable, "-c", USE], check=False).returncode == 0
