"""Mirror the results into MLflow. It has no output: a store that cannot be reached is a warning."""

from stage import Stage, run

from alkdnet.tracking import sync_or_warn


def track(stage: Stage) -> None:
    """Bring MLflow up to date with the outputs."""
    sync_or_warn(stage.params, stage.paths, stage.root)


if __name__ == "__main__":
    run(track)
