"""Taggers that are not ours: a head with names and widths of its own."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

from otcal.bundle.graph import OPSET
from otcal.bundle.onnx_head import head_model
from otcal.config.head import HeadConfig
from otcal.tagger.head import Head

WIDTH, HIDDEN = 24, 12
CLASSES = ("multijet", "h_bb", "top")
OUTPUTS = {"zp128": "hidden", "z10": "logits"}


def write_head(path: Path, opset: int = OPSET) -> tuple[Head, HeadConfig]:
    """Write the end of a head as an ONNX model; return it in torch, and its settings."""
    torch.manual_seed(3)
    head = Head(8, [WIDTH, 16, HIDDEN], len(CLASSES)).eval().requires_grad_(False)
    model = head_model(head)
    for node in model.graph.node:
        node.output[:] = [OUTPUTS.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = OUTPUTS[output.name]
    # In the other order, as only names count.
    outputs = list(model.graph.output)[::-1]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    model.opset_import[0].version = opset
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return head, HeadConfig(file=str(path), classes=CLASSES, **OUTPUTS)
