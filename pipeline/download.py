"""Fetch a data set or released weights as they were published."""

from stage import Stage, run

from alkdnet.sources.catalogue import source
from alkdnet.sources.fetching import fetch


def download(stage: Stage) -> None:
    """Fill raw/<use>/<data set>."""
    dataset = stage.params.datasets[stage.key]
    kept = stage.root / ".downloads"
    fetch(
        source(dataset.source),
        stage.paths.raw(dataset.use, stage.key),
        cache=kept,
        mirror=stage.mirror,
        digests=kept / "digests.json",
        folder=None if dataset.path is None else stage.under_root(dataset.path),
    )


if __name__ == "__main__":
    run(download, each="dataset")
