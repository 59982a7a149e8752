import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alkdnet.analysis.statistics import (
    METRICS,
    Comparison,
    bootstrap_interval,
    compare_pairs,
    frame,
    holm,
    pooled_seeds,
    seed_margin,
    seed_spread,
    signed_rank_p,
)
from alkdnet.errors import UserError

# Darwin's maize (The Effects of Cross and Self Fertilisation, 1876, table 97): crossed minus self-fertilised
# height in eighths of an inch, the classical example of the signed-rank test.
DARWIN = np.array([49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])


def images(values: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """Rows of {run: {set: PSNR of its images}}; the SSIM is a hundredth of the PSNR."""
    return pd.DataFrame(
        [
            {"run": run, "set": name, "image": f"i{index}", "psnr": psnr, "ssim": psnr / 100}
            for run, sets in values.items()
            for name, psnrs in sets.items()
            for index, psnr in enumerate(psnrs)
        ]
    )


def exact_p(differences: np.ndarray) -> float:
    """The two-sided p by enumeration of all sign patterns."""
    ranks = stats.rankdata(np.abs(differences))
    sums = [sum(np.array(signs) * ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    observed = ranks[differences > 0].sum()
    middle = ranks.sum() / 2
    return float(np.mean([abs(value - middle) >= abs(observed - middle) - 1e-9 for value in sums]))


def test_signed_rank_p_is_exact_for_few_images() -> None:
    differences = np.array([0.07, 0.05, -0.01, 0.12, 0.03, 0.09, 0.02, 0.065])
    assert signed_rank_p(differences) == pytest.approx(exact_p(differences), abs=1e-12)
    # All six positive: 2 / 2^6; five: 2 / 2^5, above 0.05.
    assert signed_rank_p(np.arange(1.0, 7)) == pytest.approx(0.03125, abs=1e-12)
    assert signed_rank_p(np.arange(1.0, 6)) == pytest.approx(0.0625, abs=1e-12)
    # Published for Darwin's maize: p = 0.041 (W = 24, n = 15; SciPy's documentation of wilcoxon).
    assert signed_rank_p(DARWIN) == pytest.approx(0.041259765625, abs=1e-12)


def test_signed_rank_p_without_differences() -> None:
    assert signed_rank_p(np.zeros(10)) == 1.0


def test_bootstrap_interval_is_seeded_and_close_to_theory() -> None:
    differences = np.random.default_rng(1).normal(0.05, 0.1, 100)
    low, high = bootstrap_interval(differences)
    assert (low, high) == bootstrap_interval(differences)
    half = 1.959964 * differences.std() / 10  # normal theory, which the mean of 100 comes close to
    assert low == pytest.approx(differences.mean() - half, abs=0.002)
    assert high == pytest.approx(differences.mean() + half, abs=0.002)


def test_bootstrap_interval_scales_and_shifts_with_the_data() -> None:
    low, high = bootstrap_interval(DARWIN)
    moved = bootstrap_interval(3 - 2 * DARWIN)
    assert low < DARWIN.mean() < high
    # Reflected data are resampled by the same draws: the ends change places up to the finite resamples.
    assert moved == pytest.approx((3 - 2 * high, 3 - 2 * low), abs=1.0)
    assert bootstrap_interval(np.full(8, 0.25)) == (0.25, 0.25)


def test_bootstrap_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(100):
        low, high = bootstrap_interval(random.exponential(1.0, 30) - 1.0)
        covered += low <= 0.0 <= high
    # BCa of skewed data, n = 30: a little under 95; the bounds are 4 standard errors of a binomial at 0.93.
    assert 83 <= covered <= 100


def test_holm() -> None:
    # By hand: sorted 0.005, 0.01, 0.03, 0.04 -> times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04 -> running maximum.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_compare_pairs_by_image_and_judges() -> None:
    random = np.random.default_rng(0)
    base = {"Set5": [30.0, 31, 32, 33, 34], "Urban100": list(random.normal(30, 3, 20))}
    noise = random.normal(0, 0.02, 20)
    better = {
        "Set5": [value + 0.07 for value in base["Set5"]],
        "Urban100": [value + 0.07 + n for value, n in zip(base["Urban100"], noise, strict=True)],
    }
    same = {"Set5": base["Set5"], "Urban100": [v + n for v, n in zip(base["Urban100"], noise, strict=True)]}
    table = images({"base": base, "better": better, "same": same})
    found = compare_pairs(table, [("better", "base"), ("same", "base")])
    by_key = {(c.variant, c.set, c.metric): c for c in found}
    assert len(by_key) == len(found) == 8
    gain = by_key["better", "Urban100", "psnr"]
    assert gain.difference == pytest.approx(0.07 + noise.mean(), abs=1e-12)
    assert (gain.images, gain.verdict) == (20, "gain")
    assert gain.low is not None
    assert gain.high is not None
    assert 0.05 < gain.low < gain.difference < gain.high < 0.09
    assert gain.adjusted_p == pytest.approx(2 * gain.p_value)  # of two comparisons, the smaller
    assert by_key["better", "Urban100", "ssim"].difference == pytest.approx(gain.difference / 100)
    assert by_key["same", "Urban100", "psnr"].verdict == "not distinguishable"
    small = by_key["better", "Set5", "psnr"]
    assert (small.verdict, small.images, small.low, small.high) == ("too few images", 5, None, None)
    assert small.p_value == small.adjusted_p == pytest.approx(0.0625)
    swapped = compare_pairs(table, [("base", "better")])
    assert [c.verdict for c in swapped if c.set == "Urban100"] == ["loss", "loss"]


def test_compare_does_not_depend_on_the_order_of_rows_or_columns() -> None:
    random = np.random.default_rng(5)
    table = images({run: {"A": list(random.normal(30, 1, 12))} for run in ("x", "y")})
    first = compare_pairs(table, [("y", "x")])
    shuffled = table.sample(frac=1, random_state=1)[["ssim", "image", "psnr", "set", "run"]]
    assert compare_pairs(shuffled, [("y", "x")]) == first


def test_holm_takes_a_gain_away_that_is_one_of_many() -> None:
    random = np.random.default_rng(2)
    base = list(random.normal(30, 1, 6))
    runs = {"base": {"A": base}, "v0": {"A": [value + 0.1 + 0.01 * i for i, value in enumerate(base)]}}
    alone = compare_pairs(images(runs), [("v0", "base")])
    assert {c.verdict for c in alone} == {"gain"}
    for index in range(1, 4):
        runs[f"v{index}"] = {"A": list(np.array(base) + random.normal(0, 1, 6))}
    many = compare_pairs(images(runs), [("v0", "base"), ("v1", "base"), ("v2", "base"), ("v3", "base")])
    assert many[0].verdict == "not distinguishable"
    assert many[0].p_value == alone[0].p_value
    assert many[0].adjusted_p == pytest.approx(4 * 0.03125)


def test_compare_uses_the_images_that_both_have() -> None:
    table = images({"base": {"A": [1.0, 2, 3], "B": [5.0]}, "v": {"A": [2.0, 4]}})
    found = compare_pairs(table, [("v", "base")])
    assert [(c.set, c.metric, c.images, c.difference) for c in found] == [
        ("A", "psnr", 2, 1.5),
        ("A", "ssim", 2, pytest.approx(0.015)),
    ]


def test_compare_names_a_run_that_is_not_there() -> None:
    table = images({"base": {"A": [1.0]}})
    with pytest.raises(UserError, match="no images of k9 to compare; there are: base"):
        compare_pairs(table, [("k9", "base")])


def test_frame_has_a_column_for_each_attribute() -> None:
    table = images({"base": {"A": [1.0, 2]}, "v": {"A": [2.0, 4]}})
    shown = frame(compare_pairs(table, [("v", "base")]))
    assert list(shown.columns) == [field.name for field in dataclasses.fields(Comparison)]
    assert list(shown["metric"]) == list(METRICS)
    assert list(frame([]).columns) == list(shown.columns)


def test_seed_spread() -> None:
    table = images({"s0": {"A": [30.0, 31], "B": [20.0]}, "s1": {"A": [30.2, 31.2]}, "other": {"A": [0.0]}})
    spread = seed_spread(table, ["s0", "s1", "never trained"])
    # Means on A: 30.5 and 30.7; the sample deviation of two values is their distance over the root of 2.
    row = spread.iloc[0]
    assert (row["set"], row["runs"]) == ("A", 2)
    assert row["psnr_mean"] == pytest.approx(30.6)
    assert row["psnr_std"] == pytest.approx(0.2 / np.sqrt(2))
    assert row["psnr_range"] == pytest.approx(0.2)
    assert row["ssim_range"] == pytest.approx(0.002)
    assert (spread.iloc[1]["set"], spread.iloc[1]["runs"]) == ("B", 1)
    assert np.isnan(spread.iloc[1]["psnr_std"])
    assert seed_spread(table, ["none"]).empty


def test_pairs_with_several_baselines_are_one_family() -> None:
    base = list(np.linspace(30, 35, 6))
    runs = {
        "base": {"A": base},
        "v": {"A": [value + 0.1 + 0.01 * index for index, value in enumerate(base)]},
        "w": {"A": [value + 0.3 + 0.02 * index for index, value in enumerate(base)]},
    }
    found = compare_pairs(images(runs), [("v", "base"), ("w", "base"), ("v", "w")])
    psnr = [c for c in found if c.metric == "psnr"]
    assert [(c.variant, c.baseline) for c in psnr] == [("v", "base"), ("w", "base"), ("v", "w")]
    assert psnr[2].difference == pytest.approx(psnr[0].difference - psnr[1].difference)
    # 2 / 2^6 is the least p of six images; Holm takes it three times.
    assert [c.adjusted_p for c in psnr] == pytest.approx([3 * 0.03125] * 3)


def test_two_trainings_may_differ_by_more_than_the_seeds_of_one_span() -> None:
    table = images({"a0": {"A": [30.0]}, "a1": {"A": [30.2]}, "b0": {"A": [31.0]}, "b1": {"A": [31.1]}})
    table = pd.concat([table, images({"b2": {"A": [31.2]}, "c0": {"A": [1.0], "B": [1.0]}})])
    groups = [["a0", "a1"], ["b0", "b1", "b2"], ["c0"]]
    # Variances 0.02 with 1 degree of freedom and 0.01 with 2; c has one seed and says nothing, nor does B.
    assert pooled_seeds(table, groups) == {"A": (pytest.approx(np.sqrt(0.04 / 3)), 3)}
    # Student's t for 95 % and 3 degrees of freedom is 3.18245; a difference has twice the variance.
    assert seed_margin(table, groups) == {"A": pytest.approx(3.18245 * np.sqrt(2 * 0.04 / 3), rel=1e-5)}
    assert seed_margin(table, [["a0", "a1"]])["A"] > 0.2
    assert seed_margin(table, [["c0"]]) == {}


def test_the_margin_of_seeds_holds_in_19_of_20_cases() -> None:
    random = np.random.default_rng(0)
    held = []
    for _ in range(400):
        means = random.normal(30, 0.05, 5)
        table = images({f"r{index}": {"A": [value]} for index, value in enumerate(means)})
        margin = seed_margin(table, [["r0", "r1", "r2"]])["A"]
        # Two further trainings with nothing but other seeds.
        held.append(abs(means[3] - means[4]) <= margin)
    assert 0.92 < np.mean(held) < 0.98
