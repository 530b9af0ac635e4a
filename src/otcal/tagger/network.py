"""The tagger: a transformer encoder with a class token, and its head.

MTG Fig. 2 and Table 1 (Algren et al., arXiv:2507.08867).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from otcal.tagger.dropout import Dropout
from otcal.tagger.head import Head

KINDS = 8
"""Number of particle types (MTG Table 4)."""


class Tagger(nn.Module):
    """Classify a jet from the set of its constituents and its own features.

    Constituents (continuous features and one-hot type) are embedded linearly. A learned class
    token joins the set, runs through the blocks with it, and is the jet's representation. Jet
    features condition every block (FiLM). There is no positional encoding: the order of the
    constituents does not matter.

    Parameters
    ----------
    constituent_features, jet_features
        Number of continuous features per constituent and per jet.
    classes
        Number of classes.
    d_model
        Width of the tokens.
    blocks
        Number of encoder blocks.
    heads
        Attention heads per block.
    expansion
        Width of the gated feed-forward layer in units of `d_model`.
    dropout
        Probability to drop a feed-forward activation in training.
    head
        Widths of the head's hidden layers; the first one is z128.
    """

    def __init__(
        self,
        *,
        constituent_features: int,
        jet_features: int,
        classes: int,
        d_model: int,
        blocks: int,
        heads: int,
        expansion: int,
        dropout: float,
        head: Sequence[int],
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(constituent_features + KINDS, d_model)
        self.condition = nn.Linear(jet_features, d_model)
        self.class_token = nn.Parameter(torch.randn(d_model) * 0.02)
        self.blocks = nn.ModuleList(
            Block(d_model, heads, expansion, dropout) for _ in range(blocks)
        )
        self.head = Head(d_model, head, classes)

    def represent(
        self,
        values: Tensor,
        kinds: Tensor,
        mask: Tensor,
        jets: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the class token after the last block, (N, d_model).

        Parameters
        ----------
        values
            Continuous features of the constituents, (N, L, F).
        kinds
            Particle type of the constituents, (N, L), integers below `KINDS`.
        mask
            True where there is a constituent, (N, L); the others may hold any finite number.
        jets
            Jet features, (N, J).
        generator
            Draws the dropout in training; None takes torch's global one.
        """
        one_hot = functional.one_hot(kinds.long(), KINDS).to(values.dtype)
        tokens = self.embedding(torch.cat([values, one_hot], dim=-1))
        class_token = self.class_token.to(tokens.dtype).expand(len(tokens), 1, -1)
        tokens = torch.cat([class_token, tokens], dim=1)
        # Keys that may be attended to; the class token always is, so no row is empty.
        keys = functional.pad(mask, (1, 0), value=True)[:, None, None, :]
        condition = functional.silu(self.condition(jets))
        for block in self.blocks[:-1]:
            tokens = block(tokens, keys, condition, generator)
        return self.blocks[-1](tokens, keys, condition, generator, queries=1).squeeze(1)

    def forward(
        self,
        values: Tensor,
        kinds: Tensor,
        mask: Tensor,
        jets: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the logits (N, classes); arguments as in `represent`."""
        logits: Tensor = self.head(self.represent(values, kinds, mask, jets, generator))
        return logits

    def latents(
        self, values: Tensor, kinds: Tensor, mask: Tensor, jets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (z128, zp128, z10) of the head; arguments as in `represent`."""
        z128 = self.head.to_z128(self.represent(values, kinds, mask, jets))
        return z128, *self.head.from_z128(z128)


class Block(nn.Module):
    """A pre-LayerNorm encoder block: self-attention, then a gated feed-forward layer.

    Both read the tokens normalised and modulated by the jet (FiLM; Perez et al.,
    arXiv:1709.07871): `(1 + a(jet)) * norm(token) + b(jet)`. The modulation starts at the identity.
    """

    def __init__(self, d_model: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d_model, elementwise_affine=False)
        self.film = nn.Linear(d_model, 4 * d_model)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        self.query = nn.Linear(d_model, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.mix = nn.Linear(d_model, d_model)
        self.gate = nn.Linear(d_model, 2 * expansion * d_model)
        self.dropout = Dropout(dropout)
        self.contract = nn.Linear(expansion * d_model, d_model)

    def forward(
        self,
        tokens: Tensor,
        keys: Tensor,
        condition: Tensor,
        generator: torch.Generator | None = None,
        queries: int | None = None,
    ) -> Tensor:
        """Return the updated tokens, (N, `queries` or L, d_model).

        Parameters
        ----------
        tokens
            Shape (N, L, d_model).
        keys
            True for tokens that may be attended to, (N, 1, 1, L).
        condition
            Embedded jet features, (N, d_model).
        generator
            Draws the dropout in training; None takes torch's global one.
        queries
            Update and return only the first so many tokens. The last block needs the class token
            only, which saves most of its work and changes nothing.
        """
        a1, b1, a2, b2 = self.film(condition)[:, None, :].chunk(4, dim=-1)
        normed = torch.addcmul(b1, self.norm(tokens), 1 + a1)
        tokens = tokens[:, :queries]
        tokens = tokens + self.mix(self._attend(normed, keys, queries))
        normed = torch.addcmul(b2, self.norm(tokens), 1 + a2)
        gate, value = self.gate(normed).chunk(2, dim=-1)
        update: Tensor = self.contract(self.dropout(functional.silu(gate) * value, generator))
        return tokens + update

    def _attend(self, normed: Tensor, keys: Tensor, queries: int | None) -> Tensor:
        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        query = split(self.query(normed[:, :queries]))
        key, value = (split(x) for x in self.key_value(normed).chunk(2, dim=-1))
        return attention(query, key, value, keys).transpose(1, 2).flatten(-2)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Scaled dot-product attention, (N, H, Q, D) for queries (N, H, Q, D) and keys (N, H, L, D).

    The same function as torch's, which is used everywhere but in bfloat16 on the CPU: there the
    backward pass of its kernel is about six times slower than plain matrix products (torch 2.13).
    """
    if query.dtype is not torch.bfloat16 or query.device.type != "cpu":
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return scores.masked_fill(~mask, float("-inf")).softmax(dim=-1) @ value
