"""The audit page: where the paper's own numbers are inconsistent."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from alkdnet.analysis.statistics import Comparison
from alkdnet.files import atomic_path
from alkdnet.markdown import render, table
from alkdnet.paper.consistency import (
    agreement,
    column_gaps,
    gains,
    left_out_gains,
    lost_cells,
    multi_adds_from_other_scales,
    protocol_fit,
    stated_gains,
    weights_per_pixel,
)
from alkdnet.paper.published import (
    ABSTRACT_GAIN_PSNR,
    ABSTRACT_GAIN_SSIM,
    CLASSIC_METHODS,
    SCALES,
    SETS,
    TYPO_READ_AS,
    corrected_table4,
    table4,
)

# Written by hand from the published code and weights of each method: rows whose two columns do not belong to
# one network, and others that differ.
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


def write_audit(path: Path, measured: Path, left_out: Sequence[tuple[int, Comparison]]) -> None:
    """Write the page; it depends on this package and the networks, not on any training.

    `measured` is table4.csv of the report on released weights; `left_out` as `audit_page` takes it.
    """
    page = audit_page(pd.read_csv(measured), left_out)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def audit_page(measured: pd.DataFrame, left_out: Sequence[tuple[int, Comparison]]) -> str:
    """Return the page as Markdown.

    Args:
        measured: as `protocol_fit` takes it.
        left_out: by scale, ALKDNet compared with LKDN, both measured with their authors' weights.
    """
    leads, fit, lost = column_gaps(), protocol_fit(measured), lost_cells(table4())
    agrees = agreement(measured)
    total = 2 * len(SCALES) * len(SETS)
    return render(
        "alkdnet.paper",
        "audit.md.j2",
        x2_g=counted().query("method == 'ALKDNet' and scale == 2")["multi_adds_g"].iloc[0],
        x3_g=_x3_at_x2_size(),
        published_g=table4().query("method == 'ALKDNet' and scale == 2")["multi_adds_g"].iloc[0],
        read_as=TYPO_READ_AS,
        printed_gains=gains(table4()),
        corrected_gains=gains(corrected_table4()),
        abstract=(ABSTRACT_GAIN_PSNR, ABSTRACT_GAIN_SSIM),
        total=total,
        won=total - len(lost),
        classic_rows=list(fit["method"][fit["follows"] == "classic"]),
        copied_rows=CLASSIC_METHODS,
        agreement=agrees,
        sum=agrees.sum(numeric_only=True),
        leads=leads,
        lost=lost,
        fit=fit.assign(classic=fit["classic"].map("{:.3f}".format).replace("nan", "–")),
        multi_adds=multi_adds_from_other_scales(),
        stated=stated_gains(),
        weights=_by_method(weights_per_pixel()),
        left_out=left_out_gains(),
        against_left_out=_comparisons(left_out),
        table=_table,
    )


def _x3_at_x2_size() -> float:
    """Return the Multi-Adds in 10^9 of ALKDNet's x3 network for an LR image of 640x360."""
    from alkdnet.analysis.complexity import count
    from alkdnet.networks import build

    return count(build("alkdnet", 3, {}), lr_height=360, lr_width=640).multi_adds / 1e9


@cache
def counted() -> pd.DataFrame:
    """Return the costs, counted, of every method of Table 4 that is a network of this project, as published.

    Columns: method, scale, parameters_k (thousands) and multi_adds_g (10^9, for 1280x720 pixels).
    """
    # Imported here: reports, which take the published numbers from this package, start without torch.
    from alkdnet.analysis.complexity import count, lr_size
    from alkdnet.networks import build, network_names

    rows = []
    for method in dict.fromkeys(table4().dropna(subset="parameters_k")["method"]):
        for scale in SCALES if method.lower() in network_names() else ():
            height, width = lr_size(scale)
            cost = count(build(method.lower(), scale, {}), lr_height=height, lr_width=width)
            rows.append([method, scale, cost.parameters / 1e3, cost.multi_adds / 1e9])
    return pd.DataFrame(rows, columns=["method", "scale", "parameters_k", "multi_adds_g"])


def _table(frame: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """Return a table of a frame; `columns`: the format of the cells by header."""
    rows = [[text.format_map(record) for text in columns.values()] for record in frame.to_dict("records")]
    return table(list(columns), rows, "l" * len(columns))


def _comparisons(found: Sequence[tuple[int, Comparison]]) -> pd.DataFrame:
    """Return the PSNR comparisons: scale, set, images, difference, interval, p, verdict."""
    rows = [
        [
            scale,
            each.set,
            each.images,
            each.difference,
            "–" if each.low is None else f"[{each.low:+.3f}, {each.high:+.3f}]",
            "–" if each.low is None else "< 0.001" if each.adjusted_p < 0.001 else f"{each.adjusted_p:.3f}",
            each.verdict,
        ]
        for scale, each in found
        if each.metric == "psnr"
    ]
    columns = ["scale", "set", "images", "difference", "interval", "p", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _by_method(weights: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each method: its values at the three scales, joined, and the remark on it."""
    frame = weights.merge(counted(), on=["method", "scale"], how="left", suffixes=("", "_counted"))
    formats = {
        "parameters_k": "{:.0f}",
        "parameters_k_counted": "{:.0f}",
        "multi_adds_g": "{:.1f}",
        "multi_adds_g_counted": "{:.1f}",
        "ratio": "{:.2f}",
    }
    rows = [
        {name: " / ".join(map(text.format, group[name])) for name, text in formats.items()}
        | {"method": method, "remark": _REMARKS.get(str(method), "consistent")}
        for method, group in frame.groupby("method", sort=False)
    ]
    return pd.DataFrame(rows).replace("nan / nan / nan", "–")
