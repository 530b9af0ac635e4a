"""Apply a trained tagger to jets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from otcal.runtime.device import Precision, autocast
from otcal.tagger.batches import Map, padded, similar_lengths
from otcal.tagger.constituents import Jets
from otcal.tagger.network import Tagger

EVERY = slice(None)


def latents(
    network: Tagger,
    jets: Jets,
    *,
    micro_batch: int,
    precision: Precision,
    device: torch.device,
    each: Map,
    share: slice = EVERY,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return (z128, zp128, z10) of jets in their order, (N, 128), (N, 128) and (N, classes).

    Parameters
    ----------
    network
        On `device`, in evaluation mode.
    jets
        Preprocessed jets.
    micro_batch
        Jets computed together. They are of similar length, so little is padded; which ones share
        a group has no influence beyond rounding.
    precision
        Of the matrix products.
    device
        Where it is computed.
    each
        Maps over groups, see `otcal.tagger.batches.workers`.
    share
        Of the groups, those to compute; the rows of the others are zero.
    """
    groups = similar_lengths(np.arange(len(jets)), jets.lengths, micro_batch)[share]

    def run(group: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        with torch.inference_mode(), autocast(device, precision):
            layers = network.latents(*padded(jets, group, device))
        return [layer.float().cpu().numpy() for layer in layers]

    z128, zp128, z10 = (
        np.zeros((len(jets), width), dtype=np.float32) for width in network.head.widths
    )
    for group, (first, second, third) in zip(groups, each(run, groups), strict=True):
        z128[group], zp128[group], z10[group] = first, second, third
    return z128, zp128, z10
