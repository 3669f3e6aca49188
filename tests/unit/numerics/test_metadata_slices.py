import itertools

import numpy as np
import pytest

from app.numerics.metadata_slices import (
    Predicate,
    bin_names,
    find_metadata_slices,
    predicate_rows,
    quantile_bins,
)
from app.numerics.significance import benjamini_hochberg, slice_excess_p_value


def table(seed=0, n=3000):
    rng = np.random.default_rng(seed)
    columns = {
        "weather": rng.choice(["rain", "sun", "fog", "雪"], n),
        "camera": rng.choice(["front", "rear"], n),
        "site": rng.choice(["a", "b", "c"], n),
    }
    planted = (columns["weather"] == "fog") & (columns["camera"] == "rear")
    return columns, rng.random(n) < np.where(planted, 0.5, 0.08)


def brute_force(columns, errors, longest, min_rows, min_errors):
    """Every conjunction of distinct columns, with no pruning."""
    tried = {}
    for size in range(1, longest + 1):
        for names in itertools.combinations(columns, size):
            for values in itertools.product(*(np.unique(columns[name]) for name in names)):
                rows = np.logical_and.reduce([columns[a] == b for a, b in zip(names, values, strict=True)])
                if rows.sum() >= min_rows and errors[rows].sum() >= min_errors:
                    key = frozenset(Predicate(a, str(b)) for a, b in zip(names, values, strict=True))
                    tried[key] = (int(rows.sum()), int(errors[rows].sum()))
    return tried


def test_the_planted_conjunction_comes_first():
    columns, errors = table()
    found = find_metadata_slices(columns, errors)
    assert set(found[0].predicates) == {Predicate("weather", "fog"), Predicate("camera", "rear")}
    rows = predicate_rows(columns, found[0].predicates)
    assert (found[0].n, found[0].errors) == (rows.sum(), errors[rows].sum())


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_pruning_loses_nothing(longest):
    columns, errors = table(1, 600)
    tried = brute_force(columns, errors, longest, 20, 5)
    counts = np.array(list(tried.values()))
    p = slice_excess_p_value(counts[:, 1], counts[:, 0], int(errors.sum()), len(errors))
    adjusted = dict(zip(tried, benjamini_hochberg(p), strict=True))
    rate = {key: errors_ / n for key, (n, errors_) in tried.items()}
    expected = {
        key
        for key, q in adjusted.items()
        if q <= 0.5 and (len(key) == 1 or all(rate[key] > rate[key - {part}] for part in key))
    }
    found = find_metadata_slices(columns, errors, max_predicates=longest, level=0.5)
    assert {frozenset(s.predicates) for s in found} == expected
    for s in found:
        assert (s.n, s.errors) == tried[frozenset(s.predicates)]
        assert s.adjusted_p_value == pytest.approx(adjusted[frozenset(s.predicates)])


def test_false_discoveries_are_rare_without_a_slice():
    shows = 0
    for seed in range(60):
        columns, errors = table(seed, 800)
        shuffled = np.random.default_rng(seed).permutation(errors)
        shows += bool(find_metadata_slices(columns, shuffled, level=0.1))
    assert shows / 60 <= 0.17


def test_identifiers_and_missing_values_are_left_out():
    columns, errors = table(2, 500)
    columns["id"] = np.arange(500).astype(str)
    columns["note"] = np.where(errors, "", "seen")
    found = find_metadata_slices(columns, errors, level=1.0)
    used = {p for s in found for p in s.predicates}
    assert all(p.column != "id" and p.value != "" for p in used)


def test_bins_have_equal_mass_and_name_other_rows_alike():
    values = np.random.default_rng(0).exponential(size=1000)
    values[:10] = np.nan
    names, edges = quantile_bins(values, 4)
    counts = {name: int((names == name).sum()) for name in np.unique(names)}
    assert counts.pop("") == 10
    assert len(counts) == 4
    assert max(counts.values()) - min(counts.values()) <= 2
    assert np.array_equal(bin_names(values, edges), names)


@pytest.mark.parametrize("values", [np.full(5, np.nan), np.ones(5)])
def test_bins_of_nothing_and_of_one_value(values):
    names, edges = quantile_bins(values)
    assert len(edges) == 0
    assert len(set(names)) == 1


def test_bad_input():
    with pytest.raises(ValueError, match="'a'"):
        find_metadata_slices({"a": np.array(["x"])}, np.zeros(3, bool))
    with pytest.raises(ValueError, match="one to three"):
        find_metadata_slices({}, np.zeros(3, bool), max_predicates=4)
    assert find_metadata_slices({}, np.zeros(3, bool)) == []
