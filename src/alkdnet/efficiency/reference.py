"""PSNR of networks with their authors' weights, as the pipelines measured it."""

from collections.abc import Sequence

from alkdnet.config.loading import load_pipeline, params_path
from alkdnet.config.paths import Paths
from alkdnet.efficiency.page import ReferenceScore
from alkdnet.reporting.study import Study

_SET = "bsd100"


def reference_scores(pipelines: Sequence[str], scale: int) -> dict[str, ReferenceScore]:
    """Return by network the scores of the first of these pipelines that has it; empty outside the repository.

    Rows with options are other networks, and left out.
    """
    found: dict[str, ReferenceScore] = {}
    for pipeline in pipelines:
        if not params_path(pipeline).is_file():
            continue
        for row in Study.read(load_pipeline(pipeline), Paths(pipeline)).released:
            score = row.scores.get(_SET)
            if row.row.scale == scale and not row.row.options and score and score.complete:
                found.setdefault(row.row.network, ReferenceScore(label=row.label, psnr=score.psnr))
    return found
