"""Fetch a data set as it was published."""

from stage import Stage, run

from alkdnet.sources.catalogue import source
from alkdnet.sources.fetching import fetch


def download(stage: Stage) -> None:
    """Fill raw/<use>/<data set>."""
    dataset = stage.params.datasets[stage.key]
    fetch(
        source(dataset.source),
        stage.paths.raw(dataset.use, stage.key),
        cache=stage.downloads,
        mirror=stage.mirror,
        digests=stage.downloads / "digests.json",
        folder=None if dataset.path is None else stage.under_root(dataset.path),
    )


if __name__ == "__main__":
    run(download, table="datasets")
