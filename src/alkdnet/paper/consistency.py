"""Checks of the paper's numbers against each other, computed from the cells of Table 4."""

from collections.abc import Mapping

import pandas as pd

from alkdnet.paper.published import (
    CLASSIC_METHODS,
    OURS,
    SCALES,
    SETS,
    STATED_GAINS,
    corrected_table4,
    field,
    table4,
)

OUTPUT_PIXELS = 1280 * 720
# LR pixels behind an output of 1280x720; x3 does not divide 1280, and the counts of Table 4 fit 427x240.
LR_PIXELS: Mapping[int, int] = {2: 640 * 360, 3: 427 * 240, 4: 320 * 180}
# Weights of the last convolution for each output colour of a pixel: 64 channels, 3x3; it has 3 s^2 outputs.
TAIL_PER_CHANNEL = 64 * 9
# Half of the last printed digit of Multi-Adds, in 10^9.
ROUNDING_G = 0.05


def multi_adds_from_other_scales() -> pd.DataFrame:
    """Return the Multi-Adds at x2, in 10^9, that follow from ALKDNet's published ones at x3 and x4.

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
    frame["pixels"] = constant.map({True: "HR", False: "LR"})
    pixels = frame["scale"].map(LR_PIXELS).mask(constant, OUTPUT_PIXELS)
    frame["thousands_per_pixel"] = frame["multi_adds_g"] * 1e6 / pixels
    frame["ratio"] = frame["thousands_per_pixel"] / frame["parameters_k"]
    return frame


def protocol_fit(measured: pd.DataFrame) -> pd.DataFrame:
    """Return how far the measured methods are from Table 4 on Set14 by both protocols.

    `measured` is table4.csv of a report. Columns: method, scales (measured), paper, classic
    (mean absolute difference in PSNR, dB; `classic` NaN where it was not measured), follows (`classic` or
    `paper`, the nearer one; `unknown` where the classic one was not measured and is likely).
    """
    cells = measured[(measured["set"] == "Set14") & measured["psnr_difference"].notna()]
    by_paper = (cells["paper_psnr"] - cells["published_psnr"]).abs()
    classic = cells["psnr_difference"].abs().where(cells["protocol"] == "classic")
    grouped = cells.assign(paper=by_paper, classic=classic).groupby("method", sort=False)
    frame = grouped[["paper", "classic"]].mean()
    frame.insert(0, "scales", grouped.size())
    frame = frame.reset_index()
    frame["follows"] = (frame["classic"] < frame["paper"]).map({True: "classic", False: "paper"})
    # Not measured by the protocol that its origin says: nothing is shown.
    frame.loc[frame["method"].isin(CLASSIC_METHODS) & frame["classic"].isna(), "follows"] = "unknown"
    return frame


def agreement(measured: pd.DataFrame) -> pd.DataFrame:
    """Return how many cells were measured, and how many have the published digits, by method.

    `measured` is table4.csv of a report. Columns: method, cells, psnr, ssim (with these digits), largest
    (absolute difference in PSNR, dB).
    """
    cells = measured[measured["psnr_difference"].notna()]
    frame = pd.DataFrame({"method": cells["method"], "cells": 1})
    for measure, digits in (("psnr", 2), ("ssim", 4)):
        frame[measure] = (
            cells[f"measured_{measure}"].round(digits) == cells[f"published_{measure}"].round(digits)
        ).astype(int)
    grouped = frame.groupby("method", sort=False)
    total = grouped[["cells", "psnr", "ssim"]].sum()
    return total.assign(largest=cells["psnr_difference"].abs().groupby(cells["method"]).max()).reset_index()


def column_gaps() -> pd.DataFrame:
    """Return the best method of each PSNR column and its lead over the next in dB, widest lead first.

    Columns: scale, set, best, psnr, ahead_of_second.
    """
    rows = []
    for (scale, name), column in table4().groupby(["scale", "set"], sort=False):
        ordered = column.sort_values("psnr", ascending=False, kind="stable")
        best, second = ordered["psnr"].iloc[0], ordered["psnr"].iloc[1]
        rows.append([scale, name, ordered["method"].iloc[0], best, round(best - second, 2)])
    frame = pd.DataFrame(rows, columns=["scale", "set", "best", "psnr", "ahead_of_second"])
    return frame.sort_values("ahead_of_second", ascending=False, kind="stable").reset_index(drop=True)


def gains(cells: pd.DataFrame) -> pd.DataFrame:
    """Return ALKDNet's gain over the best other method: by scale, the mean over the sets and on Urban100.

    Columns: scale, psnr, ssim, urban100_psnr, urban100_ssim; PSNR in dB.
    """
    rows = []
    for scale in SCALES:
        row: dict[str, float] = {"scale": scale}
        for measure in ("psnr", "ssim"):
            wide = cells[cells["scale"] == scale].pivot(index="method", columns="set", values=measure)
            gain = wide.T[OURS] - wide.drop(index=OURS).max()
            row |= {measure: float(gain[list(SETS)].mean()), f"urban100_{measure}": float(gain["Urban100"])}
        rows.append(row)
    return pd.DataFrame(rows)


def stated_gains() -> pd.DataFrame:
    """Return the gains that section 4.4 states beside those of the cells.

    Columns: scale, over, measure, decimals, stated, printed, corrected (see `corrected_table4`), agrees.
    """
    printed, corrected = gains(table4()), gains(corrected_table4())
    rows = []
    for index, stated in enumerate(STATED_GAINS):
        for measure, decimals in (("psnr", 2), ("ssim", 4)):
            for over, column in (("all sets", measure), ("Urban100", f"urban100_{measure}")):
                said, as_read = getattr(stated, column), corrected[column][index]
                agrees = "yes" if round(as_read, decimals) == said else "no"
                values = [said, printed[column][index], as_read, agrees]
                rows.append([stated.scale, over, measure.upper(), decimals, *values])
    columns = ["scale", "over", "measure", "decimals", "stated", "printed", "corrected", "agrees"]
    return pd.DataFrame(rows, columns=columns)


def left_out_gains() -> pd.DataFrame:
    """Return ALKDNet's printed gain over each earlier network that Table 4 leaves out.

    Means over the five sets at one scale, from cells as printed, beside the gain over the best of every
    column that the paper states. Columns: method, year, scale, parameters_k, psnr (dB), ssim, stated_psnr,
    stated_ssim.
    """
    stated = {each.scale: each for each in STATED_GAINS}
    ours = table4().query("method == @OURS").set_index(["scale", "set"])
    rows = []
    for record in field().query("year < 2024").to_dict("records"):
        scale = record["scale"]
        gain = {
            measure: sum(ours[measure][scale, name] - record[f"{name.lower()}_{measure}"] for name in SETS)
            / len(SETS)
            for measure in ("psnr", "ssim")
        }
        row = [record["method"], record["year"], scale, record["parameters_k"], gain["psnr"], gain["ssim"]]
        rows.append([*row, stated[scale].psnr, stated[scale].ssim])
    columns = ["method", "year", "scale", "parameters_k", "psnr", "ssim", "stated_psnr", "stated_ssim"]
    return pd.DataFrame(rows, columns=columns)


def lost_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells in which ALKDNet is not the best or not alone.

    Columns: scale, set, measure (PSNR or SSIM), decimals, ours, best_other, methods.
    """
    rows = []
    for (scale, name), column in cells.groupby(["scale", "set"], sort=False):
        for measure, decimals in (("psnr", 2), ("ssim", 4)):
            values = column.set_index("method")[measure]
            others = values.drop(index=OURS)
            if values[OURS] <= others.max():
                best = ", ".join(others.index[others == others.max()])
                rows.append([scale, name, measure.upper(), decimals, values[OURS], others.max(), best])
    return pd.DataFrame(
        rows, columns=["scale", "set", "measure", "decimals", "ours", "best_other", "methods"]
    )
