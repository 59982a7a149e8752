"""Where the parameters and Multi-Adds that the paper prints do not fit together, computed from Table 4."""

from collections.abc import Mapping

import pandas as pd

from alkdnet.config.params import Params
from alkdnet.paper.finding import Finding
from alkdnet.paper.published import OURS, SCALES, table4
from alkdnet.reporting.table import Table, number, records, text_row
from alkdnet.results.tree import Results

OUTPUT_PIXELS = 1280 * 720
# LR pixels behind an output of 1280x720; x3 does not divide 1280, and the counts of Table 4 fit 427x240.
LR_PIXELS: Mapping[int, int] = {2: 640 * 360, 3: 427 * 240, 4: 320 * 180}
# Weights of the last convolution for each output colour of a pixel: 64 channels, 3x3; it has 3 s^2 outputs.
TAIL_PER_CHANNEL = 64 * 9
# Half of the last printed digit of Multi-Adds, in 10^9.
ROUNDING_G = 0.05

# By hand: what is known of the rows whose two columns do not belong to one network, and of the others that
# differ. Counted from the published code and weights of each method.
_REMARKS: Mapping[str, str] = {
    "SRCNN": (
        "inconsistent: 8 K is the 9-1-5 network; Multi-Adds and PSNR are those of the 9-5-5 one "
        "(57,281 parameters)"
    ),
    "FSRCNN": "consistent: its deconvolution is charged for every output pixel",
    "DRRN": "consistent: its layers share weights, each is used 25 times",
    "IDN": (
        "inconsistent: 553 K is the network on luma with a deconvolution, the same at all scales; "
        "the Multi-Adds grow as those of a variant with pixel shuffle do"
    ),
    "RFDN": (
        "inconsistent: 534 K fits 6 blocks of 48 channels; the Multi-Adds are those of a ×4 network of "
        "4 blocks and 50 channels, at every scale"
    ),
    "BSRN": "consistent: its attention works on fewer pixels",
    "MLRN": "cannot be checked: neither code nor weights are public",
    "HSNet": (
        "doubtful: the same parameters at ×2 and ×3, and more Multi-Adds per pixel at ×4 than 11 K more "
        "parameters can cause; neither code nor weights are public"
    ),
    "CFSR": "consistent only in parts: ×2 and ×3 leave out 12 convolutions that ×4 counts",
    "ALKDNet": "×2 is out of line with ×3 and ×4: see above",
}


def cost_findings(params: Params, results: Results) -> list[Finding]:
    """Return the findings about parameters and Multi-Adds."""
    return [_multi_adds_x2(params, results), _weights_per_pixel()]


def ours_from_other_scales() -> pd.DataFrame:
    """Return what ALKDNet's published Multi-Adds at x3 and x4 say about x2, in 10^9.

    But for the last convolution the network does the same work for every LR pixel at all scales. Columns:
    from_scale, published, x2_low, x2_high (the x2 network at 640x360), x3_low, x3_high (the x3 network at
    640x360); low and high are the bounds that follow from the rounding of the published cell.
    """
    ours = table4().drop_duplicates(["method", "scale"]).set_index(["method", "scale"])["multi_adds_g"]
    rows = []
    for scale in (3, 4):
        row: list[float] = [scale, ours[OURS, scale]]
        for target in (2, 3):
            tail = 3 * TAIL_PER_CHANNEL * (target**2 - scale**2)
            for bound in (-ROUNDING_G, ROUNDING_G):
                per_pixel = (ours[OURS, scale] + bound) * 1e9 / LR_PIXELS[scale] + tail
                row.append(per_pixel * LR_PIXELS[2] / 1e9)
        rows.append(row)
    return pd.DataFrame(rows, columns=["from_scale", "published", "x2_low", "x2_high", "x3_low", "x3_high"])


def weights_per_pixel() -> pd.DataFrame:
    """Return for every row of Table 4 the Multi-Adds per pixel beside the parameters.

    A convolution uses each of its weights once at every pixel it computes, so that the ratio is near 1,
    unless weights are shared or work on fewer pixels. Columns: method, scale, parameters_k, multi_adds_g,
    pixels (`LR`, or `HR` for networks that work on the enlarged image), thousands_per_pixel, ratio.
    """
    cells = table4().drop_duplicates(["method", "scale"]).dropna(subset="multi_adds_g")
    frame = cells[["method", "scale", "parameters_k", "multi_adds_g"]].reset_index(drop=True)
    constant = frame.groupby("method")["multi_adds_g"].transform("nunique") == 1
    frame["pixels"] = ["HR" if same else "LR" for same in constant]
    pixels = [
        OUTPUT_PIXELS if same else LR_PIXELS[scale]
        for same, scale in zip(constant, frame["scale"], strict=True)
    ]
    frame["thousands_per_pixel"] = frame["multi_adds_g"] * 1e6 / pixels
    frame["ratio"] = frame["thousands_per_pixel"] / frame["parameters_k"]
    return frame


def _multi_adds_x2(params: Params, results: Results) -> Finding:
    frame = ours_from_other_scales()
    published = table4().query("method == @OURS and scale == 2")["multi_adds_g"].iloc[0]
    table = Table(
        caption="Multi-Adds at 640×360 LR pixels that follow from the other scales of Table 4, in 10⁹",
        header=("From the cell of", "Published", "×2 network", "×3 network"),
        rows=[
            text_row(
                f"×{row['from_scale']:.0f}",
                number(row["published"], 1),
                f"{row['x2_low']:.2f} to {row['x2_high']:.2f}",
                f"{row['x3_low']:.2f} to {row['x3_high']:.2f}",
            )
            for row in records(frame)
        ],
    )
    text = (
        f"Table 4 gives ALKDNet {published} G Multi-Adds at ×2. But for its last convolution the network "
        "does the same work for every LR pixel at all scales, so the cells of ×3 and ×4 say what ×2 must "
        f"be (below, with the bounds of their rounding): near 81.8 G. {published} G is what the ×3 "
        "network needs at the ×2 size: its last convolution has 27 outputs instead of 12. Counted by the "
        "paper's own counter (thop 0.1.1) the ×2 network has 81.76 G, and the ×3 network at 640×360 has "
        "83.75 G."
    ) + _counted_here(params, results)
    return Finding(
        name="multi_adds_x2",
        title="ALKDNet's Multi-Adds at ×2 are those of another network",
        text=text,
        frame=frame,
        table=table,
    )


def _counted_here(params: Params, results: Results) -> str:
    counted = [
        f"{run.cost.multi_adds / 1e9:.2f} G at ×{run.run.scale}"
        for run in results.of(params.report.table4.get(OURS, ()))
        if run.cost is not None
    ]
    if not counted:
        return ""
    size = f"{params.complexity.width}×{params.complexity.height}"
    return f" Counted in this pipeline, for an output of {size} pixels: {', '.join(counted)}."


def _weights_per_pixel() -> Finding:
    frame = weights_per_pixel()
    rows = []
    for method, group in frame.groupby("method", sort=False):
        by_scale = group.set_index("scale")
        ratios = " / ".join(number(by_scale["ratio"][scale], 2) for scale in SCALES)
        parameters = " / ".join(f"{by_scale['parameters_k'][scale]:.0f}" for scale in SCALES)
        per_pixel = " / ".join(f"{by_scale['thousands_per_pixel'][scale]:.1f}" for scale in SCALES)
        remark = _REMARKS.get(str(method), "consistent")
        rows.append(text_row(str(method), parameters, per_pixel, ratios, remark))
    table = Table(
        caption="Parameters of Table 4 beside its Multi-Adds per pixel (×2 / ×3 / ×4)",
        header=("Method", "Parameters, K", "Multi-Adds per pixel, K", "Ratio", "Remark"),
        rows=rows,
        alignment="lrrrp",
    )
    text = (
        "A convolution uses each weight once for every pixel that it computes, so Multi-Adds divided by "
        "pixels is near the number of parameters, unless weights are shared or work on fewer pixels. "
        "Where the ratio is far from 1 the two columns may belong to different networks. The columns of "
        "Table 4 also follow no single convention: most rows are convolutions without bias; BSRN's "
        "include biases and pooling, ALKDNet's normalisation and pooling; ×3 stands for 426 LR columns "
        "in some rows and 427 in others. This report counts every network that it runs by one rule, the "
        "one behind ALKDNet's row."
    )
    return Finding(
        name="weights_per_pixel",
        title="Rows whose parameters and Multi-Adds belong to different networks",
        text=text,
        frame=frame,
        table=table,
    )
