"""Make the low-resolution images of a data set, exact to MATLAB's last bit."""

from stage import Stage, run

from alkdnet.data.lr import downscale_folder


def downscale(stage: Stage) -> None:
    """Fill lr/<use>/<data set>/x<scale>; released weights have no images and get an empty folder."""
    dataset = stage.params.datasets[stage.key]
    how = stage.params.downscale
    lr = stage.paths.lr(dataset.use, stage.key)
    if dataset.use == "weights":
        lr.mkdir(parents=True)
        return
    raw = stage.paths.raw(dataset.use, stage.key)
    with stage.saying_where_to_mend(stage.key):
        downscale_folder(raw, lr, how.scales, border=how.border, alpha=dataset.alpha)


if __name__ == "__main__":
    run(downscale, each="dataset")
