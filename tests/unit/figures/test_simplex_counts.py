"""Tables of the simplex study: known distributions give known rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from otcal.config.simplex_tabulation import DisplacementTables, MixtureTables
from otcal.figures import cells, count_displacements, count_mixture
from otcal.figures.extraction import Extraction
from otcal.figures.tables import write_csv
from otcal.runtime.errors import InputError
from otcal.simplex import ilr_inverse
from support.gaussian_mixtures import TABLE_1, Gaussians
from support.simplex_study import draw, write_extraction, write_histories

GAUSSIANS = Gaussians(np.array([[1.0, 0.5], [-1.0, 0.8], [0.0, -1.5]]), np.array([1.0, 0.8, 1.2]))
FLAVOURS = ("b", "c", "light")


@dataclass(frozen=True)
class Setup:
    """A study whose components are Gaussians."""

    extraction: Extraction
    axes: list[cells.Axis]
    cells: np.ndarray


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    path = tmp_path_factory.mktemp("fit") / "extraction.json"
    write_extraction(path, TABLE_1, 2)
    values = np.random.default_rng(0).normal(0.0, 1.8, 20_000)
    axes = [cells.Axis.spanning(values, MixtureTables(bins=20, cells=8))] * 2
    return Setup(Extraction.read(path), axes, cells.masses(GAUSSIANS, axes))


def test_marginals_of_gaussians_are_differences_of_their_distribution_functions(setup):
    np.testing.assert_allclose(setup.cells.sum(axis=(1, 2)), 1.0, atol=1e-4)
    edges = setup.axes[0].edges
    worst = []
    for number in (8, 16):
        values = np.array([edges[0], edges[-1]])
        settings = MixtureTables(bins=20, cells=number, tail=1e-9)
        axes = [cells.Axis.spanning(values, settings)] * 2
        marginals = cells.project(cells.masses(GAUSSIANS, axes), axes)
        errors = []
        for d, k in np.ndindex(2, 3):
            cdf = norm.cdf(axes[d].edges, GAUSSIANS.means[k, d], GAUSSIANS.widths[k])
            errors.append(np.abs(marginals[d][k] - np.diff(cdf)).max())
        worst.append(max(errors))
    assert worst[0] < 1e-4
    assert worst[0] / worst[1] == pytest.approx(4.0, rel=0.1)  # second order in the cells


def test_components_that_leave_the_cells_are_reported(setup, caplog):
    far = Gaussians(np.array([[1.0, 0.5], [-1.0, 0.8], [30.0, 0.0]]), GAUSSIANS.widths)
    cells.masses(far, setup.axes)
    assert [r.args[0] for r in caplog.records if r.levelname == "WARNING"] == [2]


def test_variation_that_adds_another_component_is_that_mixture(setup):
    shift = np.zeros((3, 3))
    shift[0] = [0.1, -0.1, 0.0]  # a tenth of c is missing in the region of b: it is in q_b
    moved = count_mixture.varied(setup.cells, shift, [0, 1, 2])
    expected = 0.9 * setup.cells[0] + 0.1 * setup.cells[1]
    np.testing.assert_allclose(moved[0], expected, rtol=1e-6)  # sums are one to 1e-7
    np.testing.assert_array_equal(moved[1:], setup.cells[1:])


def test_variation_that_removes_too_much_is_clipped_and_keeps_its_sum(setup):
    shift = np.zeros((3, 3))
    shift[0] = [-0.5, 0.5, 0.0]
    moved = count_mixture.varied(setup.cells, shift, [0, 1, 2])[0]
    raw = 1.5 * setup.cells[0] - 0.5 * setup.cells[1]
    assert (raw < 0).any()
    assert moved.min() == 0.0
    assert moved.sum() == pytest.approx(setup.cells[0].sum(), rel=1e-12)
    kept = raw > 0
    np.testing.assert_allclose(moved[kept] / raw[kept], moved[kept][0] / raw[kept][0], rtol=1e-9)


def test_band_adds_sources_in_quadrature_and_takes_the_larger_of_a_pair():
    nominal = np.array([10.0, 10.0])
    varied = {"eigen1_up": [13, 9], "eigen1_down": [12, 8], "eigen2_up": [14, 9.5]}
    up, down = count_mixture.band(nominal, {k: np.array(v, float) for k, v in varied.items()})
    np.testing.assert_allclose(up, [15.0, 10.0])  # 3 and 4; the pair moves both ways up
    np.testing.assert_allclose(down, [10.0, 10.0 - np.hypot(2.0, 0.5)])


def test_scores_table_holds_jets_and_what_the_mixtures_expect(setup):
    jets = [draw(GAUSSIANS, pi, 5000, r)[0] for r, pi in enumerate(TABLE_1)]
    extraction = setup.extraction
    compositions = {"before": extraction.start, "after": extraction.pi}
    both = {"before": setup.cells, "after": setup.cells}
    columns = count_mixture.count_scores(jets, both, compositions, extraction, setup.axes)
    table = pd.DataFrame(columns)
    data = table[table["sample"] == "data"].groupby(["region", "feature"])["jets"].sum()
    inside = [
        ((z > axis.edges[0]) & (z <= axis.edges[-1])).sum()
        for z, axis in zip(jets[1].T, setup.axes, strict=True)
    ]
    np.testing.assert_array_equal(data["c_enriched"], inside)
    rows = table.query("region == 'c_enriched' and feature == 'z2' and sample == 'before'")
    expected = 5000 * extraction.start[1, 2] * cells.project(setup.cells, setup.axes)[1][2]
    np.testing.assert_allclose(rows[rows["flavour"] == "light"]["jets"], expected)
    total = table.query("region == 'b_enriched' and feature == 'z1' and sample == 'after'")
    seen = table.query("region == 'b_enriched' and feature == 'z1' and sample == 'data'")
    expected = total.groupby("low")["jets"].sum().to_numpy()
    # Twenty bins, whose mean chi-squared is above 1.8 once in a hundred times.
    assert ((seen["jets"] - expected) ** 2 / expected).mean() < 1.8


def test_components_table_moves_density_and_fraction_together(setup):
    sample = [draw(GAUSSIANS, pi, 5000, r) for r, pi in enumerate(TABLE_1)]
    shift = np.zeros((3, 3))
    shift[0] = [0.02, -0.02, 0.0]
    columns = count_mixture.count_components(
        [z for z, _ in sample],
        [label for _, label in sample],
        setup.cells,
        {"eigen1_up": shift, "eigen1_down": np.zeros((3, 3))},
        setup.extraction,
        setup.axes,
    )
    table = pd.DataFrame(columns).query("region == 'b_enriched' and feature == 'z1'")
    b = table[table["flavour"] == "b"]
    marginal = cells.project(setup.cells, setup.axes)[0]
    np.testing.assert_allclose(b["extracted"], 5000 * 0.9 * marginal[0])
    moved = 0.98 * marginal[0] + 0.02 * marginal[1]
    shape, total = 5000 * 0.9 * moved, 5000 * 0.92 * moved
    up = np.maximum(shape, b["extracted"])
    np.testing.assert_allclose(b["shape_up"], up)
    np.testing.assert_allclose(b["shape_down"], np.minimum(shape, b["extracted"]))
    np.testing.assert_allclose(b["total_up"], np.maximum(total, b["extracted"]))
    c = table[table["flavour"] == "c"]  # its region has not moved: only its fraction here has
    np.testing.assert_allclose(c["shape_down"], c["extracted"])
    np.testing.assert_allclose(c["total_down"], 0.5 * c["extracted"])  # 4 % to 2 %
    assert b["truth"].sum() == pytest.approx((sample[0][1] == 0).sum(), rel=0.02)


def test_histories_of_all_starts_are_one_table(setup, tmp_path):
    paths = write_histories(tmp_path, setup.extraction)
    table = pd.DataFrame(count_mixture.merge_histories(paths, setup.extraction))
    sizes = table.groupby("start")["iteration"].nunique()
    assert dict(sizes) == {"start-0": 26, "start-1": 30}
    sums = table.groupby(["start", "iteration", "region"])["fraction"].sum()
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)
    written = pd.read_csv(paths["start-1"])
    rows = table.query("start == 'start-1' and region == 'c_enriched' and flavour == 'light'")
    np.testing.assert_allclose(rows["fraction"], written["pi_c_enriched_light"])
    np.testing.assert_allclose(rows["objective"], written["objective"])


def test_region_of_a_flavour_is_its_purest(setup):
    assert [setup.extraction.region(name) for name in FLAVOURS] == [0, 1, 2]
    twice = Extraction(**{**vars(setup.extraction), "enriched": ("b", "b", "light")})
    assert twice.region("b") == 0
    with pytest.raises(InputError, match="has no region"):
        twice.region("c")


def test_incomplete_extraction_names_file_and_key(tmp_path):
    write_extraction(tmp_path / "e.json", TABLE_1[:2], 1)
    with pytest.raises(InputError, match=r"e\.json: pi: is not an array of 3 x 3 numbers"):
        Extraction.read(tmp_path / "e.json")
    (tmp_path / "f.json").write_text('{"regions": []}')
    with pytest.raises(InputError, match=r"f\.json: enriched: is missing"):
        Extraction.read(tmp_path / "f.json")


def test_triangles_tile_the_simplex():
    p = np.random.default_rng(2).dirichlet(np.ones(3), 20_000)
    found = count_displacements.triangles(p, 8)
    names, counts = np.unique(found, axis=0, return_counts=True)
    assert len(names) == 64
    assert set(names.sum(axis=1)) == {6, 7}
    # Equal areas: the density is uniform.
    assert np.abs(counts - 20_000 / 64).max() < 5 * np.sqrt(20_000 / 64)
    corner = count_displacements.corners(found, 8)
    np.testing.assert_allclose(corner.sum(axis=2), 1.0)
    weights = np.linalg.solve(corner.swapaxes(1, 2), p[..., None])[..., 0]
    assert weights.min() > -1e-9  # each point is inside its own triangle


def test_points_on_lines_and_corners_have_a_triangle():
    p = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.25, 0.25, 0.5], [0.1, 0.3, 0.6]])
    found = count_displacements.triangles(p, 4)
    assert set(found.sum(axis=1)) <= {2, 3}
    corner = count_displacements.corners(found, 4)
    weights = np.linalg.solve(corner.swapaxes(1, 2), p[..., None])[..., 0]
    assert weights.min() > -1e-9


def test_a_translation_moves_every_arrow_alike():
    shift = np.array([-0.4, 0.25])
    before = {name: GAUSSIANS.sample(k, 4000, 1) for k, name in enumerate(FLAVOURS)}
    after = {name: z + shift for name, z in before.items()}
    settings = DisplacementTables(arrows=10, triangles=6, min_jets=30)
    result = count_displacements.count(before, after, settings)
    plane = pd.DataFrame(result.plane)
    np.testing.assert_allclose(plane["moved_z1"] - plane["z1"], shift[0])
    np.testing.assert_allclose(plane["moved_z2"] - plane["z2"], shift[1])
    assert plane["jets"].min() >= 30
    simplex = pd.DataFrame(result.simplex)
    assert (simplex.groupby("flavour")["jets"].sum() == 4000).all()
    assert ((simplex["jets"] >= 30) == (simplex["shown"] == 1)).all()
    for prefix, sample in (("p", before), ("moved", after)):
        rows = simplex[simplex["flavour"] == "c"]
        columns = rows[[f"{prefix}_{name}" for name in FLAVOURS]]
        mean = np.average(columns, axis=0, weights=rows["jets"])
        np.testing.assert_allclose(mean, ilr_inverse(sample["c"]).mean(axis=0))
    density = result.densities["z1", "z2", "light/calibrated"]
    assert 3900 < density.weights.sum() <= 4000


def test_history_without_a_region_is_an_input_error(setup, tmp_path):
    write_csv(tmp_path / "history.csv", {"iteration": [0], "log_likelihood": [1.0]})
    with pytest.raises(InputError, match="objective: column is missing"):
        count_mixture.merge_histories({"s": Path(tmp_path / "history.csv")}, setup.extraction)
