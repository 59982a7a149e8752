"""Which rows of Table 4 were measured by which evaluation protocol."""

import pandas as pd

from alkdnet.paper.finding import Finding
from alkdnet.paper.published import remeasured, table4
from alkdnet.reporting.table import Table, number, records, text_row

# A row follows a protocol if its cells are met within this, in dB, on average.
PROTOCOL_MET_DB = 0.03


def protocol_fit() -> pd.DataFrame:
    """Return how far each remeasured method is from Table 4 on Set14 under both protocols.

    Columns: method, cells, new, old (mean absolute difference in PSNR, dB; `old` NaN where not measured).
    """
    merged = remeasured().merge(table4(), on=["method", "scale", "set"], how="left", validate="1:1")
    merged = merged[merged["set"] == "Set14"]
    merged["new"] = (merged["new_psnr"] - merged["psnr"]).abs()
    merged["old"] = (merged["old_psnr"] - merged["psnr"]).abs()
    grouped = merged.groupby("method", sort=False)
    frame = grouped[["new", "old"]].mean()
    frame.insert(0, "cells", grouped.size())
    return frame.reset_index()


def protocol_finding() -> Finding:
    """Return the finding that Table 4 mixes two evaluation protocols."""
    frame = protocol_fit()
    old = frame[(frame["old"] <= PROTOCOL_MET_DB) & (frame["new"] > frame["old"])]
    frame["row_follows"] = ["old" if method in set(old["method"]) else "new" for method in frame["method"]]
    table = Table(
        caption="Mean absolute difference in PSNR between Table 4 and released weights on Set14, in dB",
        header=("Method", "This protocol", "Old protocol", "Its row follows the"),
        rows=[
            text_row(
                row["method"],
                number(row["new"], 3),
                "not measured" if pd.isna(row["old"]) else number(row["old"], 3),
                f"{row['row_follows']} one",
            )
            for row in records(frame)
        ],
        alignment="lrrl",
    )
    text = (
        "Table 4 compares numbers of two protocols. The rows of the later RGB networks come out under "
        f"the protocol of this report. Those of {', '.join(old['method'])} were copied from older papers "
        "and come out on Set14 only under the old MATLAB protocol, which works on luma alone, does not "
        "round the small image, and takes a grey file (Set14's `img_003`) in full range. By the same "
        "origin FSRCNN and DRRN belong to them. So a measurement of every method under one protocol "
        "cannot meet these rows: it is up to 0.09 dB off on Set14. That is the table's inconsistency, "
        "not a defect of the measurement. Measured on a CPU with the weights that the authors published; "
        "SAFMN's only at ×2, in a third party's 16-bit copy; FSRCNN and DRRN are left out, of which only "
        "others' weights could be had."
    )
    return Finding(
        name="protocols",
        title="Rows of two evaluation protocols in one table",
        text=text,
        frame=frame,
        table=table,
    )
