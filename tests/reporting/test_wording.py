import dataclasses

import pytest

from alkdnet.analysis.statistics import Comparison
from alkdnet.reporting.wording import nothing_to_say, sentence

GAIN = Comparison(
    variant="k9",
    baseline="bsrn",
    set="Urban100",
    metric="psnr",
    images=100,
    difference=0.0712,
    low=0.0521,
    high=0.0934,
    p_value=1e-9,
    adjusted_p=1e-8,
    verdict="gain",
)
FEW = dataclasses.replace(GAIN, set="Set5", images=5, low=None, high=None, verdict="too few images")
SAME = dataclasses.replace(
    GAIN, set="BSD100", difference=-0.0123, low=-0.034, high=0.011, verdict="not distinguishable"
)
LOSS = dataclasses.replace(GAIN, set="Set14", difference=-0.05, low=-0.08, high=-0.02, verdict="loss")


def test_the_sentence_of_the_report() -> None:
    assert sentence([FEW, GAIN], label="k = 9") == (
        "k = 9 gains 0.07 dB on Urban100 [0.05, 0.09]; on Set5 (5 images) nothing can be said."
    )


def test_every_kind_of_verdict() -> None:
    assert sentence([FEW, LOSS, SAME, GAIN], label="v") == (
        "v gains 0.07 dB on Urban100 [0.05, 0.09] and loses 0.05 dB on Set14 [0.02, 0.08]; "
        "on BSD100 (−0.01 dB [−0.03, 0.01]) it cannot be told from the baseline; on Set5 (5 images) "
        "nothing can be said."
    )
    assert sentence([SAME], label="v") == (
        "v: on BSD100 (−0.01 dB [−0.03, 0.01]) it cannot be told from the baseline."
    )
    assert sentence([dataclasses.replace(FEW, images=1)], label="v") == (
        "v: on Set5 (1 image) nothing can be said."
    )
    assert sentence([], label="v") == "v: no set to compare on."


def test_lists_read_as_lists() -> None:
    sets = [dataclasses.replace(GAIN, set=name) for name in ("A", "B", "C")]
    assert sentence(sets, label="v") == (
        "v gains 0.07 dB on A [0.05, 0.09], 0.07 dB on B [0.05, 0.09] and 0.07 dB on C [0.05, 0.09]."
    )


def test_a_gain_within_the_seeds_is_said_to_be_so() -> None:
    assert sentence([GAIN], label="v", seed_margin={"Urban100": 0.08}) == (
        "v gains 0.07 dB on Urban100 [0.05, 0.09] (two seeds may differ by as much: up to 0.08 dB)."
    )
    assert "seeds" not in sentence([GAIN], label="v", seed_margin={"Urban100": 0.07, "Set5": 1.0})


def test_another_baseline_goes_by_its_name() -> None:
    assert sentence([SAME], label="v against w", baseline="w") == (
        "v against w: on BSD100 (−0.01 dB [−0.03, 0.01]) it cannot be told from w."
    )


def test_what_rounds_to_nothing_has_no_minus() -> None:
    nothing = dataclasses.replace(SAME, difference=-1e-9, low=-1e-7, high=1e-7)
    assert sentence([nothing], label="v") == (
        "v: on BSD100 (+0.000 dB [0.000, 0.000]) it cannot be told from the baseline."
    )


def test_one_sentence_for_all_variants_of_which_nothing_can_be_said() -> None:
    other = dataclasses.replace(FEW, variant="k5")
    assert nothing_to_say([FEW, other]) == (
        "Nothing can be said of any of the 2 variants: Set5 (5 images) has too few images to tell a "
        "difference from chance."
    )
    more = [dataclasses.replace(each, set="A", images=3) for each in (FEW, other)]
    assert "Set5 (5 images) and A (3 images) have too few" in str(nothing_to_say([FEW, other, *more]))
    assert nothing_to_say([FEW, other, GAIN]) is None
    assert nothing_to_say([FEW]) is None
    assert nothing_to_say([]) is None


def test_small_differences_keep_a_digit_that_shows() -> None:
    small = dataclasses.replace(GAIN, difference=0.0042, low=0.0021, high=0.0061)
    assert sentence([small], label="v") == "v gains 0.004 dB on Urban100 [0.002, 0.006]."
    ssim = dataclasses.replace(GAIN, metric="ssim", difference=0.0004, low=0.0002, high=0.0006)
    assert sentence([ssim], label="v") == "v gains 0.0004 on Urban100 [0.0002, 0.0006]."


def test_refuses_a_mixture() -> None:
    with pytest.raises(ValueError, match="one variant and one metric"):
        sentence([GAIN, dataclasses.replace(GAIN, variant="k5")], label="v")
