"""Training speed of the tagger's encoder against torch's own, padded one: jets per second.

Jets have random contents and the lengths of JetClass: about 39 constituents, of which the 64 of
highest pT are used. Everything runs in one process, one after the other, `--rounds` times in turn;
the table shows medians. Rows:

- ``stock``: `torch.nn.TransformerEncoder`, jets padded to 64 constituents, float32, torch's own
  threads; width 96 and 3 layers with a mean over constituents, and the shape of our default;
- ``otcal``: our network, training step and default settings, in float32 and in bfloat16.

    python benchmarks/tagger_throughput.py --threads 2 --output throughput.csv
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from otcal.config.tagger import TaggerConfig
from otcal.tagger.batches import padded, similar_lengths, workers
from otcal.tagger.constituents import Jets, offsets_of
from otcal.tagger.network import Tagger
from otcal.tagger.saved import head_widths
from otcal.tagger.training import TaggerTrainee

CPU = torch.device("cpu")
LONGEST = 64
CLASSES = 10


def random_jets(count: int, seed: int) -> Jets:
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.round(rng.normal(39, 15.5, count)), 1, LONGEST).astype(np.int64)
    total = int(lengths.sum())
    return Jets(
        values=rng.normal(size=(total, 7)).astype(np.float32),
        kinds=rng.integers(0, 8, total).astype(np.uint8),
        offsets=offsets_of(lengths),
        features=rng.normal(size=(count, 5)).astype(np.float32),
        labels=rng.integers(0, CLASSES, count).astype(np.int8),
        ids=np.arange(count),
    )


class Stock(nn.Module):
    """Embedding, torch's pre-LayerNorm encoder on padded jets, mean over constituents, logits."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(7 + 8, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, values: Tensor, kinds: Tensor, mask: Tensor) -> Tensor:
        """Return logits (N, 10) of padded jets: (N, L, 7), (N, L), (N, L)."""
        one_hot = nn.functional.one_hot(kinds.long(), 8).float()
        tokens = self.embedding(torch.cat([values, one_hot], -1))
        tokens = self.encoder(tokens, src_key_padding_mask=~mask)
        weights = mask.float()[..., None]
        pooled = (tokens * weights).sum(1) / weights.sum(1)
        logits: Tensor = self.head(pooled)
        return logits


def stock_steps(
    jets: Jets, width: int, heads: int, layers: int, batch: int, threads: int
) -> Callable[[int], None]:
    torch.manual_seed(0)
    network = Stock(width, layers, heads)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    rng = np.random.default_rng(0)

    def step(_: int) -> None:
        torch.set_num_threads(threads)
        chosen = rng.choice(len(jets), batch, replace=False)
        values, kinds, mask, _features = padded(jets, chosen, CPU)
        extra = LONGEST - values.shape[1]
        values = nn.functional.pad(values, (0, 0, 0, extra))
        kinds, mask = nn.functional.pad(kinds, (0, extra)), nn.functional.pad(mask, (0, extra))
        labels = torch.from_numpy(jets.labels[chosen].astype(np.int64))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(values, kinds, mask), labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def our_steps(
    jets: Jets, config: TaggerConfig, precision: str, threads: int
) -> Callable[[int], None]:
    torch.manual_seed(0)
    shape = config.architecture
    network = Tagger(
        constituent_features=7,
        jet_features=5,
        classes=CLASSES,
        d_model=shape.d_model,
        blocks=shape.blocks,
        heads=shape.heads,
        expansion=shape.expansion,
        dropout=shape.dropout,
        head=head_widths(shape),
    )
    settings = config.training.model_copy(update={"precision": precision})
    make = partial(TaggerTrainee, network, jets, jets, settings, seed=0, device=CPU)

    def step(number: int) -> None:
        with workers(threads, CPU) as each:
            trainee.each = each
            trainee.step(number)

    trainee = make(each=map)
    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", help="table (.csv)")
    args = parser.parse_args()
    config = TaggerConfig()
    batch = config.training.batch_size
    shape = config.architecture
    jets = random_jets(8 * batch, 0)
    rows: dict[str, Callable[[int], None]] = {
        "stock, d = 96, 3 layers, padded": stock_steps(jets, 96, 4, 3, batch, args.threads),
        f"stock, d = {shape.d_model}, {shape.blocks} layers, padded": stock_steps(
            jets, shape.d_model, shape.heads, shape.blocks, batch, args.threads
        ),
        "otcal, float32": our_steps(jets, config, "float32", args.threads),
        "otcal, bfloat16": our_steps(jets, config, "bfloat16", args.threads),
    }
    wall: dict[str, list[float]] = {name: [] for name in rows}
    core: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(args.rounds + 1):
        for name, step in rows.items():
            before, before_core = time.perf_counter(), time.process_time()
            step(number)
            if number:  # the first round warms up
                wall[name].append(batch / (time.perf_counter() - before))
                core[name].append(batch / (time.process_time() - before_core))
    table = pd.DataFrame(
        {
            "encoder": list(rows),
            "jets_per_s": [statistics.median(wall[name]) for name in rows],
            "jets_per_core_s": [statistics.median(core[name]) for name in rows],
        }
    )
    table["ratio"] = table["jets_per_s"] / table["jets_per_s"].iloc[0]
    groups = similar_lengths(np.arange(batch), jets.lengths, config.training.micro_batch)
    slots = sum(len(group) * jets.lengths[group].max() for group in groups)
    print(table.to_string(index=False, float_format="%.4g"))
    print(
        f"threads {args.threads}, cores {os.cpu_count()}, batch {batch}, torch {torch.__version__}"
    )
    print(f"padding: {1 - jets.lengths[:batch].sum() / slots:.1%} of our constituents' slots")
    if args.output:
        table.to_csv(args.output, index=False)


if __name__ == "__main__":
    main()
