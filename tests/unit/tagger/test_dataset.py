from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from otcal.config.splits import Splits
from otcal.config.tagger import Preprocessing as Settings
from otcal.runtime.errors import InputError
from otcal.samples import splits
from otcal.samples.classes import CLASSES
from otcal.samples.jets import write_jets
from otcal.tagger.dataset import (
    fit_preprocessing,
    iterate_split,
    load,
    require_all_classes,
)

FRACTIONS = Splits(train=0.75, validation=0.1, test=0.15).fractions()


@pytest.fixture
def files(tmp_path, make_jets):
    paths = [tmp_path / f"{seed}.parquet" for seed in (1, 2)]
    for seed, path in enumerate(paths, start=1):
        write_jets(path, make_jets(300, seed), {})
    return paths


def test_splits_share_out_the_jets(files, make_jets, ragged, preprocess) -> None:
    tables = [make_jets(300, seed) for seed in (1, 2)]
    transform = preprocess(ragged(pa.concat_tables(tables)))
    found = {}
    for split in FRACTIONS:
        jets = load(iterate_split(files, transform, CLASSES, FRACTIONS, split))
        found[split] = jets.ids
        assert splits.select(jets.ids, FRACTIONS, split).all()
    together = np.concatenate(list(found.values()))
    expected = np.concatenate([table["jet_id"].to_numpy() for table in tables])
    assert sorted(together) == sorted(expected)
    assert len(found["train"]) == pytest.approx(450, abs=50)


def test_disk_and_memory_hold_the_same(files, tmp_path, make_jets, ragged, preprocess) -> None:
    transform = preprocess(ragged(make_jets(300, 1)))

    def pieces():
        return iterate_split(files, transform, CLASSES, FRACTIONS, "train")

    memory, disk = load(pieces()), load(pieces(), tmp_path)
    assert isinstance(disk.values.base, np.memmap) or isinstance(disk.values, np.memmap)
    for name in ("values", "kinds", "offsets", "features", "labels", "ids"):
        np.testing.assert_array_equal(getattr(disk, name), getattr(memory, name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.parquet", "2.parquet"]


def test_only_training_jets_fit_the_preprocessing(files, make_jets, ragged, preprocess) -> None:
    raw = ragged(pa.concat_tables([make_jets(300, seed) for seed in (1, 2)]))
    train = raw.select(splits.select(raw.ids, FRACTIONS, "train"))
    fitted = fit_preprocessing(files, Settings(quantiles=50), CLASSES, FRACTIONS)
    assert fitted.to_json() == preprocess(train).to_json()


def test_few_jets_of_all_files_fit_the_preprocessing(files, make_jets, ragged, preprocess) -> None:
    raw = ragged(pa.concat_tables([make_jets(300, seed) for seed in (1, 2)]))
    few = splits.select(raw.ids, FRACTIONS, "train")
    few &= splits.uniform(raw.ids, salt=1) < 150 / (0.75 * 600)
    assert few.sum() == pytest.approx(150, abs=30)
    assert few[:300].sum() == pytest.approx(75, abs=20)
    fitted = fit_preprocessing(files, Settings(quantiles=50, fit_jets=150), CLASSES, FRACTIONS)
    assert fitted.to_json() == preprocess(raw.select(few)).to_json()


def test_an_empty_class_is_refused(tmp_path, make_jets) -> None:
    path = tmp_path / "jets.parquet"
    write_jets(path, make_jets(300, 1, classes=CLASSES[:-1]), {})
    with pytest.raises(InputError, match="label_Tbl: no jet of Tbl in the train split"):
        fit_preprocessing([path], Settings(), CLASSES, FRACTIONS)
    require_all_classes(np.arange(10, dtype=np.int8), CLASSES, "test")


def test_nan_is_refused(tmp_path, make_jets) -> None:
    table = make_jets(100, 1)
    values = table["part_d0val"].to_pylist()
    values[3][0] = float("nan")
    position = table.column_names.index("part_d0val")
    table = table.set_column(
        position, table.schema.field(position), pa.array(values, pa.list_(pa.float32()))
    )
    path = tmp_path / "jets.parquet"
    write_jets(path, table, {})
    with pytest.raises(InputError, match=r"jets\.parquet: part_d0val: has a NaN"):
        fit_preprocessing([path], Settings(), CLASSES, FRACTIONS)


def test_a_file_of_something_else_is_refused(tmp_path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"jet_id": [1]}), path)
    with pytest.raises(InputError, match=r"other\.parquet: part_px: column is missing"):
        fit_preprocessing([path], Settings(), CLASSES, FRACTIONS)
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="is not a readable Parquet file"):
        fit_preprocessing([path], Settings(), CLASSES, FRACTIONS)
