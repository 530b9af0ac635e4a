from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from otcal.config.tagger import Architecture
from otcal.runtime.device import autocast
from otcal.tagger.batches import padded, similar_lengths
from otcal.tagger.dropout import Dropout
from otcal.tagger.network import Block, attention

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def jets(make_jets, ragged, preprocess):
    raw = ragged(make_jets(40, 9))
    return preprocess(raw)(raw)


def test_padding_changes_nothing(network, jets) -> None:
    values, kinds, mask, features = padded(jets, np.arange(40), CPU)
    expected = network.latents(values, kinds, mask, features)
    junk = torch.randn(40, 9, 7) * 100
    wider = network.latents(
        torch.cat([values, junk], 1),
        torch.cat([kinds, torch.randint(0, 8, (40, 9), dtype=torch.uint8)], 1),
        torch.cat([mask, torch.zeros(40, 9, dtype=torch.bool)], 1),
        features,
    )
    for one, other in zip(expected, wider, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_order_of_constituents_changes_nothing(network, jets) -> None:
    values, kinds, mask, features = padded(jets, np.arange(40), CPU)
    order = torch.randperm(values.shape[1])
    expected = network.latents(values, kinds, mask, features)
    permuted = network.latents(values[:, order], kinds[:, order], mask[:, order], features)
    for one, other in zip(expected, permuted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_other_jets_of_the_batch_change_nothing(network, jets) -> None:
    together = network(*padded(jets, np.arange(40), CPU))
    for i in (0, 7, 39):
        alone = network(*padded(jets, np.array([i]), CPU))
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=0)


def test_every_input_matters(network, jets) -> None:
    inputs = padded(jets, np.arange(40), CPU)
    expected = network(*inputs)
    for position in range(7):
        values = inputs[0].clone()
        values[..., position] += 1
        changed = network(values, *inputs[1:])
        assert (changed - expected).abs().amax(1).min() > 1e-6
    for position in range(5):
        features = inputs[3].clone()
        features[:, position] += 1
        assert (network(*inputs[:3], features) - expected).abs().amax(1).min() > 1e-6
    kinds = (inputs[1] + 1) % 8
    assert (network(inputs[0], kinds, *inputs[2:]) - expected).abs().amax(1).min() > 1e-6


def test_a_jet_without_constituents_has_finite_latents(network) -> None:
    empty = torch.zeros(2, 0, 7), torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)
    assert network(*empty, torch.randn(2, 5)).isfinite().all()


def test_the_class_token_alone_is_what_the_last_block_would_return_for_it(network) -> None:
    block = network.blocks[-1]
    tokens, condition = torch.randn(3, 6, 32), torch.randn(3, 32)
    keys = torch.tensor([True, True, False, True, True, False]).expand(3, 1, 1, 6)
    everything = block(tokens, keys, condition)
    torch.testing.assert_close(
        block(tokens, keys, condition, queries=1), everything[:, :1], atol=1e-5, rtol=0
    )


def test_film_starts_at_the_identity() -> None:
    block = Block(16, 2, 2, 0.0)
    tokens, keys = torch.randn(3, 4, 16), torch.ones(3, 1, 1, 4, dtype=torch.bool)
    torch.testing.assert_close(
        block(tokens, keys, torch.randn(3, 16)), block(tokens, keys, torch.zeros(3, 16))
    )


def test_latents_are_the_layers_of_the_head(network, jets) -> None:
    inputs = padded(jets, np.arange(40), CPU)
    z128, zp128, z10 = network.latents(*inputs)
    represented = network.represent(*inputs)
    layers = network.head.layers
    x = layers[0](represented)
    torch.testing.assert_close(z128, x)
    for layer in layers[1:4]:
        x = layer(torch.nn.functional.gelu(x))
    torch.testing.assert_close(zp128, x)
    torch.testing.assert_close(z10, layers[4](torch.nn.functional.gelu(x)))
    torch.testing.assert_close(network(*inputs), z10)


def test_attention_in_bfloat16_is_torchs() -> None:
    query, key, value = torch.randn(3, 2, 4, 9, 8).bfloat16()
    mask = torch.rand(2, 1, 1, 9) < 0.7
    mask[..., 0] = True
    expected = scaled_dot_product_attention(
        query.float(), key.float(), value.float(), attn_mask=mask
    )
    torch.testing.assert_close(
        attention(query, key, value, mask).float(), expected, atol=0.02, rtol=0.02
    )


def test_bfloat16_is_float32_within_its_rounding(network, jets) -> None:
    inputs = padded(jets, np.arange(40), CPU)
    expected = network(*inputs)
    with autocast(CPU, "bfloat16"):
        rounded = network(*inputs).float()
    torch.testing.assert_close(rounded, expected, atol=0.05 * expected.std().item(), rtol=0)


def test_padded_jets_get_no_gradient_from_padding(network, jets) -> None:
    values, kinds, mask, features = padded(jets, np.arange(40), CPU)
    values.requires_grad_()
    labels = torch.from_numpy(jets.labels.astype(np.int64))
    cross_entropy(network(values, kinds, mask, features), labels).backward()
    assert (values.grad[~mask] == 0).all()
    assert (values.grad[mask].abs().amax(1) > 0).all()


def test_dropout_drops_the_share_and_keeps_the_mean() -> None:
    drop, x = Dropout(0.1).train(), torch.ones(1000, 999)
    y = drop(x, torch.Generator().manual_seed(0))
    dropped = 26 / 256
    assert (y == 0).float().mean().item() == pytest.approx(dropped, abs=0.001)
    assert y.max().item() == pytest.approx(1 / (1 - dropped))
    assert y.mean().item() == pytest.approx(1, abs=0.001)
    # Neighbours in one random word are independent.
    pairs = ((y[:, 1:] == 0) & (y[:, :-1] == 0)).float().mean().item()
    assert pairs == pytest.approx(dropped**2, abs=0.0005)
    torch.testing.assert_close(y, drop(x, torch.Generator().manual_seed(0)))
    assert (y != drop(x, torch.Generator().manual_seed(1))).any()
    assert drop.eval()(x) is x


def test_groups_are_a_partition_into_similar_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 500)
    batch = np.random.default_rng(1).permutation(500)[:300]
    groups = similar_lengths(batch, lengths, 32)
    assert sorted(np.concatenate(groups)) == sorted(batch)
    assert [len(group) for group in groups] == [32] * 9 + [12]
    spans = [(lengths[group].min(), lengths[group].max()) for group in groups]
    assert all(left[0] >= right[1] for left, right in pairwise(spans))


def test_padded_holds_the_jets(jets) -> None:
    group = np.array([5, 0, 17])
    values, kinds, mask, features = padded(jets, group, CPU)
    for row, jet in enumerate(group):
        first, last = jets.offsets[jet], jets.offsets[jet + 1]
        assert mask[row].sum() == last - first
        np.testing.assert_array_equal(values[row][mask[row]], jets.values[first:last])
        np.testing.assert_array_equal(kinds[row][mask[row]], jets.kinds[first:last])
        np.testing.assert_array_equal(features[row], jets.features[jet])
    assert (values[~mask] == 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_model": 96}, "greater than or equal to 128"),
        ({"d_model": 130, "heads": 4}, r"heads \(4\) must divide d_model \(130\)"),
        ({"head_layers": 2}, "greater than or equal to 3"),
        ({"width": 3}, "Extra inputs"),
    ],
)
def test_impossible_architectures_are_refused(settings, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Architecture(**settings)
