"""Views of a pipeline in MLflow's page, as tags of its experiment.

The names and contents of a view are those that the page of MLflow 3 writes for "share view". A page that does
not know them shows its own columns and charts.
"""

import json
from collections.abc import Iterator
from typing import Any

from alkdnet.config.params import Params

TABLE = "compare"
CHARTS = "charts"  # of the smallest scale; those of the others are charts_x3, charts_x4
_SECTION = "alkdnet"


def view_url(server: str, experiment_id: str, view: str) -> str:
    """Return the URL of a view of an experiment's runs, under "Model training"."""
    mode = "" if view == TABLE else "&compareRunsMode=CHART"
    query = f"workflowType=machine_learning&viewStateShareKey={view}{mode}"
    return f"{server}/#/experiments/{experiment_id}/runs?{query}"


def experiment_tags(params: Params) -> dict[str, str]:
    """Return the tags of the experiment: its description, its table, and the charts of each scale."""
    first, *others = sorted(params.downscale.scales)
    views = {TABLE: _table(params), CHARTS: _charts(params, first)}
    views |= {f"{CHARTS}_x{scale}": _charts(params, scale) for scale in others}
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": f"{params.report.title}\n\n{params.report.summary}",
        **{f"mlflow.sharedViewState.{name}": json.dumps(view) for name, view in views.items()},
    }


def _table(params: Params) -> dict[str, Any]:
    sets = params.names("test")
    metrics = [
        *(f"{name}/psnr" for name in sets),
        *(f"{name}/ssim" for name in sets),
        "parameters",
        "multi_adds",
        "training_seconds",
        "iterations_per_second",
    ]
    columns = [
        *(f"tags.`{key}`" for key in ("label", "experiment")),
        *(f"params.`{key}`" for key in ("scale", "kernel_size")),
        *(f"metrics.`{key}`" for key in metrics),
    ]
    widths = {column: 40 + 7 * len(column.partition(".")[2]) for column in columns}
    return {
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {**widths, columns[0]: 200},
        # Excludes the parent runs, which have no scale.
        "searchFilter": "params.scale != ''",
        "orderByKey": "tags.`run`",
        "orderByAsc": True,
    }


def _charts(params: Params, scale: int) -> dict[str, Any]:
    """PSNR of each test set over Multi-Adds, and the curves of the trainings."""
    return {
        "searchFilter": f"params.scale = '{scale}'",
        "orderByKey": "tags.`run`",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": list(_cards(params)),
        "compareRunSections": [
            {
                "uuid": _SECTION,
                "name": f"x{scale}",
                "display": True,
                "isReordered": True,
                "isGenerated": False,
            }
        ],
        "isAccordionReordered": True,
    }


def _cards(params: Params) -> Iterator[dict[str, Any]]:
    common = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False}
    for name in params.names("test"):
        key = f"{name}/psnr"
        yield {
            **common,
            "uuid": f"cost-{name}",
            "type": "SCATTER",
            "xaxis": {"key": "multi_adds", "type": "METRIC"},
            "yaxis": {"key": key, "type": "METRIC"},
            "runsCountToCompare": 100,
        }
    recipes = [params.recipe_of(run) for run in params.trained]
    followed = ["validation_psnr", "loss"]
    followed += ["validation_psnr_ema"] if any(recipe.ema_decay for recipe in recipes) else []
    followed += ["gradient_norm"] if any(recipe.clip_norm for recipe in recipes) else []
    for key in followed:
        yield {
            **common,
            "uuid": f"curve-{key}",
            "type": "LINE",
            "displayName": key,
            "metricKey": key,
            "selectedMetricKeys": [key],
            "lineSmoothness": 0,
            "xAxisScaleType": "linear",
            "scaleType": "log" if key == "loss" else "linear",
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "range": {},
            "useGlobalXaxisKey": False,
            "useGlobalLineSmoothing": False,
            "ignoreOutliers": False,
            "runsCountToCompare": 100,
        }
