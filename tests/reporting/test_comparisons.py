import pytest

from alkdnet.analysis.statistics import Comparison
from alkdnet.reporting.comparisons import against_ours, seed_margins, verdicts_table
from alkdnet.reporting.study import Study

BASE = Comparison(
    variant="kernel9_x2",
    baseline="alkdnet_x2",
    set="urban100",
    metric="psnr",
    images=12,
    difference=0.07,
    low=0.05,
    high=0.09,
    p_value=0.0005,
    adjusted_p=0.0015,
    verdict="gain",
)


def _line(study: Study, **changes: object) -> list[str]:
    comparison = Comparison(**{**BASE.__dict__, **changes})
    (row,) = verdicts_table(study, [comparison], caption="").rows
    return [cell.parts[0].text for cell in row]


def test_a_verdict_is_a_line_of_columns(study: Study) -> None:
    assert _line(study) == [
        *("kernel9_x2", "ALKDNet", "Urban100", "12"),
        *("+0.070", "[0.050, 0.090]", "0.002", "gain"),
    ]
    assert _line(study, adjusted_p=0.0004)[6] == "< 0.001"
    # An interval that excludes zero does not show it.
    assert _line(study, low=0.00004, high=0.2)[5] == "[0.00004, 0.200]"
    few = _line(study, low=None, high=None, verdict="too few images")
    assert few[5:] == ["–", "–", "too few images"]


def test_seeds_are_a_column_where_they_are_known(study: Study) -> None:
    # 2.00 and 2.01 dB over bicubic: two seeds know little.
    margin = seed_margins(study, ["bsrn_x2"])["urban100"]
    line = _line(study, baseline="bsrn_x2")
    assert line[-1] == f"{margin:.3f}, not exceeded"
    assert _line(study, baseline="bsrn_x2", difference=-9.0)[-1] == f"{margin:.3f}, exceeded"


def test_no_gain_has_an_interval_with_zero(study: Study) -> None:
    decided = [
        each for family in against_ours(study).values() for each in family if each.verdict in ("gain", "loss")
    ]
    assert decided
    for each in decided:
        assert each.low is not None
        assert each.high is not None
        assert each.low * each.high > 0


def test_other_methods_are_compared_with_alkdnet(study: Study) -> None:
    (scale,) = against_ours(study)
    assert scale == 2
    verdicts = {
        (each.variant, each.set): each.verdict for each in against_ours(study)[2] if each.metric == "psnr"
    }
    # 2.0 dB over bicubic against 2.3, with noise of 0.01: plain on 12 images, too few with 5.
    assert verdicts["bsrn_x2", "urban100"] == "loss"
    assert verdicts["bsrn_x2", "set5"] == "too few images"


def test_a_margin_is_students_t_times_the_spread(study: Study) -> None:
    first, second = (study.rows[name].scores["set5"].psnr for name in ("bsrn_x2", "bsrn_x2_seed1"))
    # Two seeds: the standard deviation is |a - b| / sqrt(2), Student's t with 1 degree of freedom 12.706.
    margin = pytest.approx(12.7062 * abs(first - second), rel=1e-5)
    assert seed_margins(study, ["kernel9_x2", "bsrn_x2"])["set5"] == margin
    assert seed_margins(study, ["alkdnet_x2"]) == {}
