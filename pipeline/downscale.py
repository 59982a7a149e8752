"""Make the low-resolution images of a data set, exact to MATLAB's last bit."""

from stage import Stage, run

from alkdnet.data.lr import downscale_folder


def downscale(stage: Stage) -> None:
    """Fill lr/<use>/<data set>/x<scale>."""
    dataset, settings = stage.params.datasets[stage.key], stage.params.downscale
    raw, lr = stage.paths.raw(dataset.use, stage.key), stage.paths.lr(dataset.use, stage.key)
    with stage.explaining_own_images(stage.key):
        downscale_folder(raw, lr, settings.scales, border=settings.border, alpha=dataset.alpha)


if __name__ == "__main__":
    run(downscale, table="datasets")
