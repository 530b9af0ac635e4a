"""Convex conjugates φ*(v) and their points ∇φ*(v), found numerically and certified."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from otcal.transport.potentials import Potential

_NOISE = 1e-6  # relative rounding of a float32 objective: below it, values can't order two points


@dataclass(frozen=True)
class Conjugate:
    """Conjugate points u ≈ ∇φ*(v) with a certificate for each.

    Attributes
    ----------
    points
        Minimisers u of φ(u) − ⟨u, v⟩, shape (n, d).
    value
        ⟨u, v⟩ − φ(u) ≤ φ*(v), shape (n,).
    residual
        |∇φ(u) − v|, shape (n,).
    error_bound
        residual / μ ≥ |u − ∇φ*(v)|, shape (n,): φ is μ-strongly convex, so this is a proof.
    converged
        residual ≤ tolerance, shape (n,).
    """

    points: Tensor
    value: Tensor
    residual: Tensor
    error_bound: Tensor
    converged: Tensor


@torch.no_grad()
def conjugate(
    potential: Potential,
    v: Tensor,
    start: Tensor | None = None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 200,
    memory: int = 4,
    compact_every: int = 2,
    block: int = 1,
    extrapolate: bool = False,
) -> Conjugate:
    """Solve ∇φ(u) = v for every row of v by batched, safeguarded L-BFGS.

    A step s of a row is accepted only if it lowers the row's objective J(u) = φ(u) − ⟨u, v⟩:
    by its value, or by ⟨∇J(u + s), s⟩ ≤ 0 (convexity then gives J(u + s) ≤ J(u), also where
    rounding hides the difference of values). Otherwise that row's next step is shortened.
    Rows which have converged leave the batch, so one slow row doesn't hold up the others.

    Parameters
    ----------
    potential
        Strongly convex potential.
    v
        Arguments of φ*, shape (n, d).
    start
        First guess of the points, shape (n, d); default v.
    tolerance
        Converged where |∇φ(u) − v| ≤ tolerance · √d, so the same figure serves every dimension.
    max_iterations
        Steps after which a row is given up; it keeps its best point and ``converged`` says so.
    memory
        Pairs kept by L-BFGS.
    compact_every
        Steps between two removals of converged rows.
    block
        Rows leave in such numbers that a multiple of this stays. Matrix products in bfloat16 are
        compiled anew for every number of rows.
    extrapolate
        Rows that took all steps take one more, which is not evaluated: it brings most of them
        closer and costs no pass through the potential. The figures are of the points before it.
    """
    threshold = tolerance * math.sqrt(v.shape[1])
    points = (v if start is None else start).clone()
    with potential.held():
        value, gradient = potential.value_and_gradient(points)
        best = value - (points * v).sum(1)
        residual = gradient - v
        rows = _unfinished(residual.norm(dim=1), threshold, block).nonzero().squeeze(1)
        history = _History(memory)
        active = _Rows(*(item.index_select(0, rows) for item in (points, v, best, residual)))
        for iteration in range(max_iterations):
            if len(rows) == 0:
                break
            active.step(potential, history)
            if (iteration + 1) % compact_every and iteration + 1 < max_iterations:
                continue
            keep = _unfinished(active.residual.norm(dim=1), threshold, block)
            if iteration + 1 == max_iterations:
                keep = torch.zeros_like(keep)
                if extrapolate:
                    active.points += active.proposal(history)
            if bool(keep.all()):
                continue
            stay, leave = keep.nonzero().squeeze(1), (~keep).nonzero().squeeze(1)
            done = rows.index_select(0, leave)
            for all_rows, own in (
                (points, active.points),
                (best, active.best),
                (residual, active.residual),
            ):
                all_rows.index_copy_(0, done, own.index_select(0, leave))
            rows = rows.index_select(0, stay)
            active.select(stay)
            history.select(stay)
    norm = residual.norm(dim=1)
    return Conjugate(points, -best, norm, norm / potential.strong_convexity(), norm <= threshold)


def _unfinished(norm: Tensor, threshold: float, block: int) -> Tensor:
    """Mark rows to go on with, shape (n,): those above the threshold, to a multiple of `block`."""
    keep = norm > threshold
    if block > 1:
        count = min(len(keep), math.ceil(int(keep.sum()) / block) * block)
        keep[norm.topk(count).indices] = True
    return keep


class _History:
    """Curvature pairs (s, y) of L-BFGS for every row."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.inverses: list[Tensor] = []

    def push(self, step: Tensor, change: Tensor) -> None:
        curvature = (step * change).sum(1, keepdim=True)
        usable = curvature > 1e-3 * (step * step).sum(1, keepdim=True)
        inverse = torch.where(usable, 1.0 / curvature.clamp_min(1e-20), 0.0)
        for store, item in (
            (self.steps, step),
            (self.changes, change),
            (self.inverses, inverse),
        ):
            store.append(item)
            del store[: -self.memory]

    def direction(self, residual: Tensor) -> Tensor:
        """Return the quasi-Newton descent step's negative, H · residual (two-loop recursion)."""
        q = residual.clone()
        if not self.steps:
            return q
        factors = []
        triples = list(zip(self.steps, self.changes, self.inverses, strict=True))
        for s, y, inverse in reversed(triples):
            factor = inverse * (s * q).sum(1, keepdim=True)
            q.addcmul_(factor, y, value=-1.0)
            factors.append(factor)
        s, y, inverse = triples[-1]
        square = (y * y).sum(1, keepdim=True).clamp_min(1e-20)
        scale = ((s * y).sum(1, keepdim=True) / square).clamp(1e-3, 1e3)
        q *= torch.where(inverse > 0, scale, 1.0)
        for (s, y, inverse), factor in zip(triples, reversed(factors), strict=True):
            q.addcmul_(factor - inverse * (y * q).sum(1, keepdim=True), s)
        # A direction that isn't one of descent (rounding) falls back to steepest descent.
        return _exchange(q, residual, ~((q * residual).sum(1) > 0))

    def select(self, rows: Tensor) -> None:
        for store in (self.steps, self.changes, self.inverses):
            store[:] = [item.index_select(0, rows) for item in store]


class _Rows:
    """The rows still being solved."""

    def __init__(self, points: Tensor, v: Tensor, best: Tensor, residual: Tensor) -> None:
        self.points, self.v, self.best, self.residual = points, v, best, residual
        self.length = torch.ones_like(best)[:, None]
        self.limit = math.sqrt(v.shape[1])  # one typical distance between two samples per step

    def proposal(self, history: _History) -> Tensor:
        """Return every row's next step, shape (n, d)."""
        step = history.direction(self.residual).mul_(-self.length)
        reach = self.residual.norm(dim=1, keepdim=True).clamp_min(self.limit)
        step *= (reach / step.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp(max=1.0)
        return step

    def step(self, potential: Potential, history: _History) -> None:
        step = self.proposal(history)
        trial = self.points + step
        value, gradient = potential.value_and_gradient(trial)
        inner = (trial * self.v).sum(1)
        objective = value - inner
        residual = gradient - self.v
        history.push(step, residual - self.residual)
        noise = _NOISE * (value.abs() + inner.abs())
        accepted = (objective <= self.best) | ((residual * step).sum(1) <= 0)
        accepted |= (objective <= self.best + noise) & (
            residual.square().sum(1) < self.residual.square().sum(1)
        )
        accepted &= torch.isfinite(objective)
        self.points = _exchange(trial, self.points, ~accepted)
        self.residual = _exchange(residual, self.residual, ~accepted)
        self.best = torch.where(accepted, objective, self.best)
        longer = (2.0 * self.length).clamp(max=1.0)
        self.length = torch.where(accepted[:, None], longer, 0.4 * self.length)

    def select(self, rows: Tensor) -> None:
        for name in ("points", "v", "best", "residual", "length"):
            setattr(self, name, getattr(self, name).index_select(0, rows))


def _exchange(rows: Tensor, others: Tensor, marked: Tensor) -> Tensor:
    """Return `rows`, shape (n, d), with those marked, (n,), from `others`; `rows` may be reused."""
    if rows.is_cuda:  # where the host would wait for the number of rows
        return torch.where(marked[:, None], others, rows)
    # Few are: on a CPU, choosing every element costs as much as a matrix product.
    few = marked.nonzero().squeeze(1)
    return rows.index_copy_(0, few, others.index_select(0, few))
