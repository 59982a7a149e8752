import dataclasses

import pytest

from alkdnet.evaluation.statistics import Comparison
from alkdnet.evaluation.wording import sentence

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
        "on BSD100 (-0.01 dB [-0.03, 0.01]) it cannot be told from the baseline; on Set5 (5 images) "
        "nothing can be said."
    )
    assert sentence([SAME], label="v") == (
        "v: on BSD100 (-0.01 dB [-0.03, 0.01]) it cannot be told from the baseline."
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
    assert sentence([GAIN], label="v", seed_range={"Urban100": 0.08}) == (
        "v gains 0.07 dB on Urban100 [0.05, 0.09] (no more than seeds differ: 0.08 dB)."
    )
    assert "seeds" not in sentence([GAIN], label="v", seed_range={"Urban100": 0.07, "Set5": 1.0})


def test_small_differences_keep_a_digit_that_shows() -> None:
    small = dataclasses.replace(GAIN, difference=0.0042, low=0.0021, high=0.0061)
    assert sentence([small], label="v") == "v gains 0.004 dB on Urban100 [0.002, 0.006]."
    ssim = dataclasses.replace(GAIN, metric="ssim", difference=0.0004, low=0.0002, high=0.0006)
    assert sentence([ssim], label="v") == "v gains 0.0004 on Urban100 [0.0002, 0.0006]."


def test_refuses_a_mixture() -> None:
    with pytest.raises(ValueError, match="one variant and one metric"):
        sentence([GAIN, dataclasses.replace(GAIN, variant="k5")], label="v")
