"""One result of the audit."""

from dataclasses import dataclass

import pandas as pd

from alkdnet.reporting.table import Table


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One inconsistency: `text` in Markdown, its numbers as `frame` and `table`, `name` for its files."""

    name: str
    title: str
    text: str
    frame: pd.DataFrame
    table: Table
