"""Known optimal maps: gradients of convex functions, evaluated in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri, softmax

from otcal.simplex import helmert

Array = NDArray[np.float64]


def random_rotation(d: int, rng: np.random.Generator) -> Array:
    """Return a random orthogonal matrix, shape (d, d)."""
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    return q * np.sign(np.diag(r))


@dataclass(frozen=True)
class Affine:
    """T(x) = mean₂ + A (x − mean₁) with A symmetric and positive definite."""

    linear: Array
    source_mean: Array
    target_mean: Array

    def __call__(self, x: Array) -> Array:
        """Return T(x), shape (n, d)."""
        return (x - self.source_mean) @ self.linear + self.target_mean


class LogSumExp:
    """T = ∇φ, φ(x) = τ log Σ_k exp((½ xᵀA_k x + b_kᵀx + c_k)/τ) + ½ ε|x|².

    A_k has random axes and log-uniform eigenvalues between 0.2 and 2, b_k is 1.5 times normal. With
    τ = √(d/2) the weights of the pieces are about as decided in every dimension, as the exponents
    differ by about √d; c_k gives all pieces the same mean exponent on the source.

    Parameters
    ----------
    x
        Source points, shape (n, d).
    rng
        Source of the random parameters.
    pieces
        Number of A_k.
    floor
        ε.
    """

    def __init__(
        self, x: Array, rng: np.random.Generator, pieces: int = 6, floor: float = 0.1
    ) -> None:
        d = x.shape[1]
        self.temperature, self.floor = np.sqrt(d / 2), floor
        self.curvatures = []
        for _ in range(pieces):
            axes = random_rotation(d, rng)
            values = np.exp(rng.uniform(np.log(0.2), np.log(2.0), d))
            self.curvatures.append((axes * values) @ axes.T)
        self.slopes = 1.5 * rng.normal(size=(pieces, d))
        self.offsets = np.zeros(pieces)
        self.offsets = -self._pieces(x)[1].mean(axis=0)

    def _pieces(self, x: Array) -> tuple[list[Array], Array]:
        """Return the gradients of all exponents, each (n, d), and the exponents, (n, pieces)."""
        pairs = list(zip(self.curvatures, self.slopes, strict=True))
        gradients = [x @ a + b for a, b in pairs]
        values = [
            0.5 * ((gradient + b) * x).sum(axis=1)
            for gradient, (_, b) in zip(gradients, pairs, strict=True)
        ]
        return gradients, np.stack(values, axis=1) + self.offsets

    def __call__(self, x: Array) -> Array:
        """Return T(x), shape (n, d)."""
        gradients, values = self._pieces(x)
        weights = softmax(values / self.temperature, axis=1)
        moved = self.floor * x
        for gradient, weight in zip(gradients, weights.T, strict=True):
            moved += weight[:, None] * gradient
        return moved


class RandomConvexNetwork:
    """T = ∇φ, φ(x) = s · a·z₃(x) + ½ ε|x|² + l·x, an input-convex network with fixed weights.

        t_i = P_i z_{i−1} + W_i x + b_i,   z_i = softplus(β t_i)/β,   P_i ≥ 0, a ≥ 0.

    A random network of many units is next to a parabola in many dimensions. This one is not: every
    unit reads two units below it only, its argument has unit spread on the source, where it bends
    sharply (β = 10) between the 25 and 75 % quantiles, and few units (d/4, at least 3) are read
    out, with exponential weights. Points on the two sides of a bend are torn apart, so the images
    have several clumps. s gives the network's gradient the variance of the source; l gives T(x) the
    source's mean.

    Parameters
    ----------
    x
        Source points, shape (n, d).
    rng
        Source of the random parameters.
    sharpness
        β.
    floor
        ε, a lower bound of all curvatures.
    """

    def __init__(
        self, x: Array, rng: np.random.Generator, sharpness: float = 10.0, floor: float = 0.1
    ) -> None:
        d = x.shape[1]
        self.sharpness, self.floor, self.shift = sharpness, floor, np.zeros(d)
        self.skips: list[Array] = []
        self.weights: list[Array] = []
        self.biases: list[Array] = []
        below = np.zeros((len(x), 0))
        for width in (max(8, d), max(8, d), max(3, d // 4)):
            skip = rng.normal(size=(d, width))
            weight = self._sparse(below.shape[1], width, rng)
            skip /= (x @ skip).std(axis=0)
            weight /= np.maximum((below @ weight).std(axis=0), 1e-12)
            argument = x @ skip + below @ weight
            scale = argument.std(axis=0)
            cuts = rng.uniform(0.25, 0.75, width)
            places = [np.quantile(t, q) for t, q in zip((argument / scale).T, cuts, strict=True)]
            self.skips.append(skip / scale)
            self.weights.append(weight / scale)
            self.biases.append(-np.array(places))
            below = self._activate(argument / scale + self.biases[-1])
        self.readout = rng.exponential(size=below.shape[1])
        gradient = self._network(x)
        self.readout *= np.sqrt(x.var(axis=0).sum() / gradient.var(axis=0).sum())
        self.shift = x.mean(axis=0) - self(x).mean(axis=0)

    @staticmethod
    def _sparse(before: int, after: int, rng: np.random.Generator, fan_in: int = 2) -> Array:
        """Return weights ≥ 0, shape (before, after), `fan_in` of which in a column are not 0."""
        weight = np.zeros((before, after))
        for column in weight.T if before else ():
            column[rng.choice(before, fan_in, replace=False)] = rng.uniform(0.5, 1.5, fan_in)
        return weight

    def _activate(self, t: Array) -> Array:
        return np.logaddexp(0.0, self.sharpness * t) / self.sharpness

    def _network(self, x: Array) -> Array:
        below, rates = np.zeros((len(x), 0)), []
        for skip, weight, bias in zip(self.skips, self.weights, self.biases, strict=True):
            t = x @ skip + below @ weight + bias
            rates.append(expit(self.sharpness * t))
            below = self._activate(t)
        slope, gradient = np.broadcast_to(self.readout, below.shape), np.zeros_like(x)
        for rate, skip, weight in zip(
            reversed(rates), reversed(self.skips), reversed(self.weights), strict=True
        ):
            slope = slope * rate
            gradient += slope @ skip.T
            slope = slope @ weight.T
        return gradient

    def __call__(self, x: Array) -> Array:
        """Return T(x), shape (n, d)."""
        return self._network(x) + self.floor * x + self.shift


@dataclass(frozen=True)
class NormalScores:
    """The monotone map of a mixture of Gaussians to a sinh-arcsinh distribution, in 1 dimension.

    T = Q ∘ F with F the mixture's distribution function and Q(p) = sinh((arsinh Φ⁻¹(p) + skew)
    / weight), a skewed density whose tails are heavy for weight < 1 (Jones & Pewsey, Biometrika 96
    (2009) 761).

    Attributes
    ----------
    shares, centres, widths
        Of the components, shape (K,).
    skew, weight
        Of the target.
    """

    shares: Array
    centres: Array
    widths: Array
    skew: float
    weight: float

    def __call__(self, x: Array) -> Array:
        """Return T(x), shape (n, 1)."""
        z = (x - self.centres) / self.widths
        # The smaller of the two tails keeps its digits.
        below, above = ndtr(z) @ self.shares, ndtr(-z) @ self.shares
        score = np.where(below < above, ndtri(below), -ndtri(above))
        return np.sinh((np.arcsinh(score) + self.skew) / self.weight)[:, None]

    def target_distribution(self, y: Array) -> Array:
        """Return the target's distribution function at y."""
        return ndtr(np.sinh(self.weight * np.arcsinh(y) - self.skew))


@dataclass(frozen=True)
class VertexPull:
    """T(z) = z − Σ_k γ_k s softplus((e_k·z − t_k)/s) e_k on isometric log-ratios of 3 classes.

    e_k is the unit vector towards vertex k of the simplex. What is further than about t_k on the
    way to a vertex moves back by the share γ_k of the excess: a tagger that is less sure of itself.
    The Jacobian is I − Σ_k γ_k σ(·) e_k e_kᵀ ⪰ I − 3/2 max γ, positive for γ < 2/3.

    Attributes
    ----------
    strengths
        γ, shape (3,).
    thresholds
        t, shape (3,).
    softness
        s.
    """

    strengths: Array
    thresholds: Array
    softness: float = 0.3
    directions: Array = field(default_factory=lambda: np.sqrt(1.5) * helmert(3).T)

    def __call__(self, z: Array) -> Array:
        """Return T(z), shape (n, 2)."""
        excess = (z @ self.directions.T - self.thresholds) / self.softness
        pull = self.strengths * self.softness * np.logaddexp(0.0, excess)
        return z - pull @ self.directions


def optimal_between(factors: Sequence[Array]) -> Array:
    """Return the symmetric A ≻ 0 with A Σ₁ A = Σ₂ for Σᵢ = Fᵢ Fᵢᵀ, shape (d, d)."""
    first, second = factors
    values, axes = np.linalg.eigh(first.T @ second @ second.T @ first)
    inverse = np.linalg.inv(first)
    return inverse.T @ (axes * np.sqrt(values)) @ axes.T @ inverse
