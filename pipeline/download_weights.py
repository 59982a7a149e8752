"""Fetch a file of released weights as it was published."""

from stage import Stage, run

from alkdnet.sources.catalogue import source
from alkdnet.sources.fetching import fetch


def download_weights(stage: Stage) -> None:
    """Fill raw/weights/<row>."""
    row = stage.params.released[stage.key]
    fetch(
        source(row.source),
        stage.paths.raw_weights(stage.key),
        cache=stage.downloads,
        mirror=stage.mirror,
        digests=stage.downloads / "digests.json",
        folder=None if row.path is None else stage.under_root(row.path),
    )


if __name__ == "__main__":
    run(download_weights, table="released")
