"""What a page says, and what stops it from being made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from otcal.runtime.errors import InputError


class Cells(HTMLParser):
    """Collects the rows of all tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data

    def cells(self, first: str) -> list[str]:
        """Return the first row that opens with this cell."""
        rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        return next(row for row in rows if row and row[0] == first)


def test_tables_hold_the_numbers_of_the_summary(study: Any) -> None:
    tables = Cells(study.build())
    assert tables.cells("First") == ["First", "0.501 ± 0.004", "half"]
    assert tables.cells("Second") == ["Second", "0.877", "–"]
    assert tables.cells("pt") == ["pt", "0.01"]
    assert tables.cells("Pseudorapidity")[1:] == ["0.07 above 0.05"]
    assert tables.cells("fit_map")[1:4] == ["1", "7", "0.1.0 (abc123)"]


@pytest.mark.parametrize(
    ("value", "remark"),
    [(0.5012, "within the expected 0.48 to 0.52"), (0.53, "outside the expected 0.48 to 0.52")],
)
def test_a_key_number_is_compared_with_what_is_expected(
    study: Any, value: float, remark: str
) -> None:
    study.summary["auc.a"] = value
    page = study.build()
    card = page[page.index('class="number"') : page.index("</article>")]
    assert f"<strong>{value:.2f}</strong>" in card
    assert remark in card
    assert "It closed." in card


def test_the_folder_is_complete_in_itself(study: Any) -> None:
    page = study.build()
    addresses = re.findall(r'(?:href|src)="([^"]+)"', page)
    local = {a for a in addresses if not a.startswith(("#", "data:"))}
    assert local == {f"figures/fig1{p}.{kind}" for p in "ab" for kind in ("png", "pdf", "csv")}
    for address in local:
        copy = study.page.parent / address
        assert copy.read_bytes() == (study.root / "drawn" / copy.name).read_bytes()
    assert "http" not in re.sub(r"http://www.w3.org/1998/Math/MathML", "", page)


def test_text_is_escaped_and_prose_is_marked_up(study: Any) -> None:
    page = study.build()
    assert "<h1>Tea &amp; &lt;cake&gt;</h1>" in page
    assert "<em>stress</em>" in page
    assert "<strong>is</strong>" in page
    assert "<math" in page
    assert 'width="640" height="480"' in page
    assert "Figure 3 of the paper" in page


def test_configuration_and_checksums_are_on_the_page(study: Any) -> None:
    page = study.build()
    assert "seed: 7\na:\n  b:\n  - 1\n  - 2" in page
    assert page.index("a" * 64) < page.index("b" * 64)
    assert "pythia8mc" in page
    assert "selenium" not in page  # what only developers need


def test_the_same_study_gives_the_same_bytes(study: Any) -> None:
    assert study.build() == study.build()


def test_timings_are_added_up_per_rule(study: Any) -> None:
    directory = study.root / "benchmarks"
    (directory / "simulate").mkdir(parents=True)
    (directory / "simulate/0.tsv").write_text("s\tmax_rss\n3600\t100.5\n")
    (directory / "simulate/1.tsv").write_text("s\tmax_rss\n3600\t300\n")
    (directory / "plot.tsv").write_text("s\tmax_rss\n0.4\tNA\n")
    tables = Cells(study.build("--benchmarks", str(directory)))
    assert tables.cells("simulate") == ["simulate", "2", "2.0 h", "300 MB"]
    assert tables.cells("plot") == ["plot", "1", "0 s", "–"]


def test_a_benchmark_directory_need_not_be_there(study: Any) -> None:
    assert "Running time" not in study.build("--benchmarks", str(study.root / "nowhere"))


def _without(name: str) -> Callable[[Any], None]:
    return lambda study: (study.root / name).unlink()


def _summary(**change: Any) -> Callable[[Any], None]:
    return lambda study: study.summary.update(change)


def _section(**change: Any) -> Callable[[Any], None]:
    return lambda study: study.manifest["sections"][0].update(change)


def _caption(text: str) -> Callable[[Any], None]:
    def change(study: Any) -> None:
        (study.root / "captions/fig1.rst").write_text(text)

    return change


def _not_an_image(study: Any) -> None:
    study.images[0].write_bytes(b"GIF89a" + bytes(40))


def _missing_key(study: Any) -> None:
    del study.summary["auc.b"]


def _foreign_provenance(study: Any) -> None:
    (study.root / "map.provenance.json").write_text(json.dumps({"author": "me"}))


@pytest.mark.parametrize(
    ("spoil", "where", "field", "problem"),
    [
        (_without("drawn/fig1b.png"), "fig1b.png", "figure", "does not exist"),
        (_without("drawn/fig1a.pdf"), "fig1a.pdf", "figure", "does not exist"),
        (_without("drawn/fig1a.csv"), "fig1a.csv", "figure", "does not exist"),
        (lambda study: study.images.pop(), "--figures", "fig1b", "is missing"),
        (_not_an_image, "fig1a.png", "figure", "is not a PNG"),
        (_without("captions/fig1.rst"), "fig1.rst", "caption", "does not exist"),
        (_caption(" \n"), "fig1.rst", "caption", "is empty"),
        (_caption("An *unclosed stress."), "fig1.rst", "caption", "line 1"),
        (_caption(".. raw:: html\n\n   <script></script>"), "fig1.rst", "caption", "raw"),
        (_caption(".. include:: ../map.provenance.json"), "fig1.rst", "caption", "include"),
        (_missing_key, "summary.json", "auc.b", "is missing"),
        (_summary(**{"auc.a": None}), "summary.json", "auc.a", "not a finite number"),
        (_summary(**{"auc.a": "0.5"}), "summary.json", "auc.a", "not a finite number"),
        (_section(figures=[]), "manifest.yaml", "fig1", "no place on the page"),
        (_section(figures=["fig1", "fig9"]), "manifest.yaml", "fig9", "not a figure"),
        (_section(figures=["fig1", "fig1"]), "manifest.yaml", "(whole block)", "twice"),
        (_section(pictures=[]), "manifest.yaml", "sections.0.pictures", "not a known key"),
        (_section(text="`odd"), "manifest.yaml", "sections.results.text", "line 1"),
        (_foreign_provenance, "map.provenance.json", "provenance", "is not there"),
    ],
)
def test_what_is_wrong_is_named_and_no_page_is_left(
    study: Any, spoil: Callable[[Any], None], where: str, field: str, problem: str
) -> None:
    spoil(study)
    with pytest.raises(InputError) as caught:
        study.build()
    assert caught.value.where.endswith(where)
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert "\n" not in str(caught.value)
    assert not study.page.exists()


def test_a_wildcard_table_without_a_match_is_an_error(study: Any) -> None:
    for key in ("ks.pt", "ks.eta"):
        del study.summary[key]
    with pytest.raises(InputError, match=r"ks\.\*: matches no key"):
        study.build()


def test_a_manifest_that_is_not_yaml_is_an_error(tmp_path: Path) -> None:
    from otcal.report.manifest import load

    path = tmp_path / "page.yaml"
    path.write_text("title: [")
    with pytest.raises(InputError, match="is not YAML"):
        load(path)
