"""The parameter file of a pipeline as frozen dataclasses. docs/parameters.md is made from this file."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import yaml

from alkdnet.config.paths import MARK
from alkdnet.config.schema import parse, setting
from alkdnet.errors import UserError

Option: TypeAlias = int | float | bool | str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set (or one file of released weights): `datasets.<name>`."""

    use: Literal["train", "test", "weights"] = setting("what it is for; it lands in raw/<use>/<name>")
    source: str = setting(
        "descriptor in alkdnet.data.sources, or `folder` for a folder of images of your own"
    )
    path: str | None = setting(
        "the folder to take the images from, relative to the repository (sources `folder` and `manga109`)",
        default=None,
    )
    alpha: Literal["refuse", "black", "white"] = setting(
        "images with transparency are refused, or laid over black or white", default="refuse"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downscale:
    """How low-resolution images are made (docs/protocol.md, point 2)."""

    scales: tuple[int, ...] = setting(
        "factors to shrink by; a pipeline takes 2, 3 and 4", minimum=2, maximum=4
    )
    border: Literal["replicate", "symmetric"] = setting(
        "MATLAB's border: `replicate` before about 2015 (Table 4), `symmetric` after"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """The training recipe (section 4.2 of the paper), one for all runs, so that they can be compared."""

    iterations: int = setting("optimiser steps; the cosine schedule ends with the last", minimum=1)
    batch_size: int = setting("patches in a step, over all processes of all hosts", minimum=1)
    patch_size: int = setting(
        "side of an LR patch in pixels; HR patches are `scale` times as large", minimum=4
    )
    learning_rate: float = setting("Adam's step size at iteration 0", above=0)
    final_learning_rate: float = setting("its value at the end of the one cosine period", minimum=0)
    beta1: float = setting("Adam's decay of the mean gradient", minimum=0, below=1)
    beta2: float = setting("Adam's decay of the mean squared gradient", minimum=0, below=1)
    validation_set: str = setting("test set on which PSNR is followed during the training")
    validation_interval: int = setting("iterations from one validation to the next", minimum=1)
    log_interval: int = setting("iterations from one logged loss to the next", minimum=1)
    checkpoint_interval: int = setting("iterations from one checkpoint to the next", minimum=1)
    precision: Literal["float32", "tf32", "bfloat16"] = setting(
        "`tf32` and `bfloat16` are for CUDA: faster, less exact; the tail and the loss stay float32"
    )
    device: Literal["auto", "cpu", "cuda"] = setting("`auto` takes a CUDA device when there is one")
    compile: bool = setting("torch.compile the step on CUDA; the CPU always runs eagerly")
    threads: int = setting(
        "CPU threads; results differ in the last bit with their number", minimum=1, maximum=1024
    )
    processes: int = setting("processes on a host, one per GPU (torchrun), sharing the batch", minimum=1)
    hosts: int = setting(
        "hosts that share the batch, each with as many processes; all start the stage and meet where "
        "ALKDNET_RENDEZVOUS says (docs/training.md)",
        minimum=1,
    )


# Fields of Train that say where and how often, not what.
HOW_COMPUTED = ("checkpoint_interval", "device", "compile", "threads", "processes", "hosts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One row of `runs`: everything that is trained or taken over. Further keys are the network's options."""

    kind: Literal["trained", "released", "interpolation"] = setting(
        "`trained` here, weights `released` by authors, or an `interpolation` without weights"
    )
    network: str = setting("a file of src/alkdnet/networks")
    scale: int = setting("super-resolution factor", minimum=2, maximum=4)
    inputs: str = setting(
        "what the run is made from, a path under `dir`: patches/x2, raw/weights/<name>, checked/ok"
    )
    seed: int = setting(
        "seeds the initial weights and the order of the patches", default=0, minimum=0, maximum=2**63 - 1
    )
    options: Mapping[str, Option] = setting("the other keys of the row: arguments of the network's class")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """The evaluation protocol; the values of paper/params.yaml reproduce Table 4."""

    channel: Literal["y", "rgb"] = setting("luma of BT.601, or the three colours together")
    round_luma: bool = setting("round Y to integers first, which costs 0.01 to 0.10 dB; the paper does not")
    crop: int | None = setting("pixels cut from every side; null: as many as the scale", minimum=0)
    self_ensemble: bool = setting("average over the eight flips and rotations")
    tile: int | None = setting(
        "side of the LR tiles for images that do not fit into memory; null: whole images. Changes numbers",
        minimum=96,
    )
    device: Literal["auto", "cpu", "cuda"] = setting("`auto` takes a CUDA device when there is one")
    threads: int = setting("CPU threads", minimum=1, maximum=1024)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complexity:
    """The size of the output image for which Multi-Adds are counted."""

    width: int = setting("pixels of the HR image", minimum=1)
    height: int = setting("pixels of the HR image", minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crop:
    """One row of Figures 7 and 8."""

    set: str = setting("test set")
    image: str = setting("file name without its ending")
    scale: int = setting("super-resolution factor", minimum=2, maximum=4)
    top: int = setting("first row of the HR crop", minimum=0)
    left: int = setting("first column of the HR crop", minimum=0)
    height: int = setting("rows of the HR crop", minimum=8)
    width: int = setting("columns of the HR crop", minimum=8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """What the figures show: feature maps (5), effective receptive fields, crops (7 and 8)."""

    maps_run: str = setting("the run whose feature maps are drawn")
    maps_set: str = setting("test set of the image")
    maps_image: str = setting("file name of the image, without its ending")
    field_runs: tuple[str, ...] = setting("runs whose effective receptive fields are computed")
    field_size: int = setting("side of the LR crops for them, odd", minimum=33)
    field_images: int = setting("images of `maps_set` to average over", minimum=1)
    crops: tuple[Crop, ...] = setting("rows of Figures 7 and 8, upscaled by every run of their scale")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
    """One of the paper's Tables 1 to 3."""

    title: str = setting("heading of the table")
    baseline: str = setting("the run that the others are compared with")
    rows: tuple[str, ...] = setting("the runs, in order; the baseline among them")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the report shows; nothing here changes a number."""

    title: str = setting("title of the front page")
    summary: str = setting("what was run, in a sentence or two, for the front page")
    hardware: str = setting("hardware and times, stated by hand, since outputs carry no clock")
    labels: Mapping[str, str] = setting("run: the name it has in tables and figures; without one, its key")
    table1: Ablation = setting("kernel size")
    table2: Ablation = setting("residual learning")
    table3: Ablation = setting("pixel normalisation")
    table4: Mapping[str, tuple[str, ...]] = setting("method of Table 4: its runs, one per scale")
    curves: tuple[str, ...] = setting("runs of Figure 6, cumulative")
    seeds: Mapping[str, tuple[str, ...]] = setting("run: the same run with other seeds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Params:
    """A whole parameter file."""

    name: str = setting("name of the pipeline; its report lands in reports/<name>")
    root: str = setting("the repository's root, as seen from the folder of the dvc.yaml")
    params_file: str = setting("this file, as seen from the root")
    dir: str = setting("folder of the outputs")
    datasets: Mapping[str, Dataset] = setting("name: data set")
    downscale: Downscale = setting("low-resolution images")
    train: Train = setting("training recipe")
    runs: Mapping[str, Run] = setting("name: everything trained or taken over")
    evaluate: Evaluate = setting("evaluation protocol")
    complexity: Complexity = setting("cost")
    features: Features = setting("feature maps and receptive fields")
    report: Report = setting("tables and figures")

    def names(self, use: Literal["train", "test", "weights"]) -> tuple[str, ...]:
        """Return the names of the data sets of one use, in the file's order."""
        return tuple(name for name, dataset in self.datasets.items() if dataset.use == use)


def load_params(path: Path) -> Params:
    """Read and validate a parameter file.

    Raises:
        UserError: the file is missing, is not YAML, or has unknown, missing or impossible values; the message
            lists all of them by key path.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such parameter file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    problems: list[str] = []
    if isinstance(content, Mapping):
        content = {**content, "runs": _rows_with_options(content.get("runs"))}
    params = parse(Params, content, "", problems)
    if params is not None:
        problems += _contradictions(params)
    if params is None or problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))
    return params


def _rows_with_options(rows: object) -> object:
    """Move the keys of a row that are not `Run`'s own, the network's options, under `options`."""
    if not isinstance(rows, Mapping):
        return rows
    own = {field.name for field in dataclasses.fields(Run)} - {"options"}
    return {
        name: {
            **{key: value for key, value in row.items() if key in own},
            "options": {key: value for key, value in row.items() if key not in own},
        }
        if isinstance(row, Mapping)
        else row
        for name, row in rows.items()
    }


def _contradictions(params: Params) -> list[str]:
    """Return what is impossible although every single value is of the right kind."""
    return [
        *_name_problems(params),
        *_dataset_problems(params),
        *_scale_problems(params.downscale.scales),
        *_recipe_problems(params.train),
        *(problem for name, run in params.runs.items() for problem in _run_problems(params, name, run)),
        *_reference_problems(params),
    ]


def _name_problems(params: Params) -> list[str]:
    """Return the names that cannot be those of folders beside each other, or of DVC's stages."""
    problems = [
        f"{section}.{name}: a name has letters, digits, _ and - only, for files and stages bear it"
        for section, names in (("datasets", params.datasets), ("runs", params.runs))
        for name in names
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name)
    ]
    if MARK in params.datasets:
        problems.append(f"datasets.{MARK}: this name is taken by the pipeline itself: choose another")
    return problems


def _dataset_problems(params: Params) -> list[str]:
    problems = []
    outputs = Path(params.dir).resolve()
    for name, dataset in params.datasets.items():
        if dataset.path and Path(dataset.path).expanduser().resolve().is_relative_to(outputs):
            problems.append(
                f"datasets.{name}.path: {dataset.path} lies in {params.dir}, whose folders the pipeline "
                "removes and writes anew: keep your images elsewhere"
            )
        if dataset.source in ("folder", "manga109") and dataset.path is None:
            problems.append(f"datasets.{name}.path: missing; source {dataset.source} needs the folder's path")
        if dataset.source not in ("folder", "manga109") and dataset.path is not None:
            problems.append(f"datasets.{name}.path: source {dataset.source} takes none")
    return problems


def _scale_problems(scales: tuple[int, ...]) -> list[str]:
    if not scales or len(set(scales)) < len(scales):
        return [f"downscale.scales: {list(scales)} must hold at least one scale, and each once"]
    return []


def _recipe_problems(train: Train) -> list[str]:
    problems = []
    if train.batch_size % (train.hosts * train.processes):
        problems.append(
            f"train.batch_size: {train.batch_size} patches cannot be shared evenly by "
            f"{train.hosts * train.processes} processes (train.hosts times train.processes)"
        )
    if train.device == "cpu" and train.precision != "float32":
        problems.append(f"train.precision: {train.precision} needs a CUDA device; with device cpu: float32")
    return problems


def _run_problems(params: Params, name: str, run: Run) -> list[str]:
    where = f"runs.{name}"
    problems = []
    if run.scale not in params.downscale.scales:
        problems.append(
            f"{where}.scale: {run.scale} is not among downscale.scales; there are: "
            f"{', '.join(map(str, params.downscale.scales))}"
        )
    if run.kind == "interpolation":
        expected = "checked/ok"
    elif run.kind == "trained":
        expected = f"patches/x{run.scale}"
    else:
        weights = params.names("weights")
        stored = run.inputs.removeprefix("raw/weights/")
        if run.inputs == stored or stored not in weights:
            choices = ", ".join(f"raw/weights/{weight}" for weight in weights) or "none: add one to datasets"
            problems.append(
                f"{where}.inputs: {run.inputs} names no weights in datasets; there are: {choices}"
            )
        return problems
    if run.inputs != expected:
        problems.append(f"{where}.inputs: a {run.kind} run of scale {run.scale} is made from {expected}")
    if run.kind == "trained" and not params.names("train"):
        problems.append(f"{where}: nothing to train on; add a data set with `use: train` to datasets")
    return problems


def _reference_problems(params: Params) -> list[str]:
    """Return where a section needs a run or a data set that is not there.

    Tables and curves may name absent runs: they say what is missing, so that runs can be taken out of `runs`.
    """
    tests = params.names("test")
    problems = [
        f"{where}: {name} is no data set with `use: test`; there are: {', '.join(tests) or 'none'}"
        for where, name in (
            ("train.validation_set", params.train.validation_set),
            ("features.maps_set", params.features.maps_set),
        )
        if name not in tests
    ]
    if params.features.field_size % 2 == 0:
        problems.append(
            f"features.field_size: {params.features.field_size} is even; a centre needs an odd one"
        )
    if params.features.maps_run not in params.runs:
        problems.append(
            f"features.maps_run: {params.features.maps_run} is no run; there are: {', '.join(params.runs)}"
        )
    report = params.report
    for where, ablation in (
        ("report.table1", report.table1),
        ("report.table2", report.table2),
        ("report.table3", report.table3),
    ):
        if ablation.rows and ablation.baseline not in ablation.rows:
            problems.append(f"{where}.baseline: {ablation.baseline} is not among its rows")
    return problems
