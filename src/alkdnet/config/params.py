"""The parameter file of a pipeline as frozen dataclasses. docs/parameters.md is made from this file."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias

from alkdnet.config.schema import setting

Option: TypeAlias = int | float | bool | str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set: `datasets.<name>`."""

    use: Literal["train", "test"] = setting("what it is for; it is downloaded to raw/<use>/<name>")
    source: str = setting("name in the catalogue of sources, or `folder` for a folder of images of your own")
    path: str | None = setting(
        "the folder to take the images from, relative to the repository (sources `folder` and `manga109`)",
        default=None,
    )
    alpha: Literal["reject", "black", "white"] = setting(
        "images with transparency are rejected, or composited over black or white", default="reject"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downscale:
    """How low-resolution images are made (docs/protocol.md, point 2)."""

    scales: tuple[int, ...] = setting(
        "downscaling factors; a pipeline takes 2, 3 and 4", minimum=2, maximum=4
    )
    border: Literal["replicate", "symmetric"] = setting(
        "MATLAB's border: `replicate` before about 2015 (Table 4), `symmetric` after"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of a batch: a weighted sum over RGB in [0, 1]; a term without a weight is not computed."""

    l1: float = setting(
        "weight of the mean absolute difference, the loss of the paper", default=0.0, minimum=0
    )
    l2: float = setting("weight of the mean squared difference, for PSNR itself", default=0.0, minimum=0)
    charbonnier: float = setting(
        "weight of the mean of sqrt(difference^2 + 1e-6), a smooth L1", default=0.0, minimum=0
    )
    fft: float = setting(
        "weight of the L1 of the real and imaginary parts of the Fourier transforms, for fine structure; "
        "SAFMN and its successors take 0.05 beside an L1 of 1",
        default=0.0,
        minimum=0,
    )

    def __str__(self) -> str:
        weights = {name: weight for name, weight in dataclasses.asdict(self).items() if weight}
        return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in weights.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a run is trained: `recipes.<name>`. Without its optional keys it is the paper's (section 4.2)."""

    iterations: int = setting("optimiser steps; the schedule ends with the last", minimum=1, maximum=10**9)
    batch_size: int = setting("patches in a step, over all processes", minimum=1, maximum=65536)
    patch_size: int = setting(
        "side of an LR patch in pixels; HR patches are `scale` times as large", minimum=4, maximum=1024
    )
    precision: Literal["float32", "tf32", "bfloat16"] = setting(
        "`tf32` and `bfloat16` are for CUDA: faster, less exact; the tail and the loss stay float32"
    )
    optimizer: Literal["adam", "adamw", "adan"] = setting(
        "`adam` is the paper's; `adamw` has decoupled weight decay; `adan` also follows the "
        "change of the gradient, and tolerates several times the learning rate",
        default="adam",
    )
    learning_rate: float = setting("learning rate at the start, or after the warm-up", above=0)
    beta1: float = setting("decay of the mean gradient", minimum=0, below=1)
    beta2: float = setting(
        "decay of the mean squared gradient; with `adan`, of the mean change of the gradient",
        minimum=0,
        below=1,
    )
    beta3: float | None = setting(
        "with `adan`: decay of the mean squared gradient", default=None, minimum=0, below=1
    )
    weight_decay: float = setting(
        "with `adamw` and `adan`: decoupled weight decay",
        default=0.0,
        minimum=0,
    )
    schedule: Literal["cosine", "multistep"] = setting(
        "of the learning rate: one cosine period, or steps at `milestones`", default="cosine"
    )
    final_learning_rate: float | None = setting(
        "with `cosine`: the learning rate at the end", default=None, minimum=0
    )
    milestones: tuple[int, ...] = setting(
        "with `multistep`: iterations at which the learning rate is multiplied by `gamma`",
        default=(),
        minimum=1,
    )
    gamma: float | None = setting(
        "with `multistep`: the factor, for example 0.5", default=None, above=0, maximum=1
    )
    warmup: int = setting(
        "iterations over which the learning rate rises linearly from 0 before the schedule begins: for "
        "learning rates at which the first steps would diverge",
        default=0,
        minimum=0,
    )
    loss: Loss = setting("what is minimised", default=Loss(l1=1.0))
    clip_norm: float | None = setting(
        "gradient clipping: the largest norm of all gradients together; null: no clipping",
        default=None,
        above=0,
    )
    ema_decay: float | None = setting(
        "the run's result is the exponential moving average of the weights with this decay, for example "
        "0.999, which is less noisy than the last weights; null: the last weights",
        default=None,
        above=0,
        below=1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class History:
    """What a training records in history.csv."""

    log_interval: int = setting("iterations from one logged loss to the next", minimum=1)
    validation_interval: int = setting("iterations from one validation to the next", minimum=1)
    validation_sets: tuple[str, ...] = setting(
        "test sets over whose images the mean PSNR is followed; an empty list: no validation"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how computations run: tracked by no stage and recorded in no output.

    Another device, other kernels or another number of threads change the last bits of a training, and do not
    run it again.
    """

    device: Literal["auto", "cpu", "cuda"] = setting("`auto` takes a CUDA device when there is one")
    compile: bool = setting(
        "torch.compile the forward pass and the loss on CUDA; the CPU always runs eagerly"
    )
    kernels: Literal["auto", "torch", "triton"] = setting(
        "implementation of the large layers on CUDA: `auto` takes the Triton kernels if they pass a check at "
        "the start, and warns and takes PyTorch's own otherwise; `triton` fails instead",
        default="auto",
    )
    threads: int = setting(
        "CPU threads of a training; images evaluated at the same time", minimum=1, maximum=1024
    )
    processes: int = setting(
        "processes of a training on this host, one per GPU, sharing the batch", minimum=1, maximum=1024
    )
    checkpoint_interval: int = setting("iterations from one checkpoint to the next", minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What every row of results has: a network, its scale and its options."""

    kind: ClassVar[Literal["trained", "released", "interpolation"]]

    network: str = setting("a file of src/alkdnet/networks")
    scale: int = setting("super-resolution factor", minimum=2, maximum=4)
    options: Mapping[str, Option] = setting("the other keys of the row: arguments of the network's class")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Row):
    """One row of `runs`: a network that is trained here. Further keys are the network's options."""

    kind = "trained"

    recipe: str = setting("how it is trained: a name in `recipes`")
    seed: int = setting(
        "seeds the initial weights and the order of the patches", default=0, minimum=0, maximum=2**63 - 1
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetuned(Run):
    """One row of `finetuned`: a run that starts from the weights of another row instead of random ones.

    Weights that fit by name and shape are taken, the others (the tail of another scale) are new.
    """

    init_from: str = setting("row of `runs`, `released` or `finetuned` whose weights it starts from")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Released(Row):
    """One row of `released`: a network with weights from elsewhere. Further keys are its options."""

    kind = "released"

    source: str = setting("name in the catalogue of sources, or `file` for a file of your own")
    path: str | None = setting(
        "the file of weights, relative to the repository (source `file`)", default=None
    )
    skip: tuple[str, ...] = setting("test sets on which its evaluation would be too slow", default=())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interpolation(Row):
    """Bicubic interpolation, which every pipeline has at each of its scales without a row."""

    kind = "interpolation"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """The evaluation protocol; the values of paper/params.yaml reproduce Table 4."""

    protocols: tuple[Literal["paper", "classic"], ...] = setting(
        "paper: the one that the other keys describe; classic: beside it that of the papers before 2017, for "
        "networks that work on luma alone and for bicubic interpolation",
        default=("paper",),
    )
    channel: Literal["y", "rgb"] = setting("luma of BT.601, or the three colours together")
    round_luma: bool = setting("round Y to integers first, which costs 0.01 to 0.10 dB; the paper does not")
    crop: int | None = setting("pixels cropped from every side; null: as many as the scale", minimum=0)
    self_ensemble: bool = setting("average over the eight flips and rotations")
    tile: int | None = setting(
        "side of the LR tiles for images that do not fit into memory; null: whole images. Changes numbers",
        minimum=96,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complexity:
    """The size of the output image for which Multi-Adds are counted."""

    width: int = setting("pixels of the HR image", minimum=1, maximum=2**20)
    height: int = setting("pixels of the HR image", minimum=1, maximum=2**20)


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
    field_runs: tuple[str, ...] = setting("rows whose effective receptive fields are computed")
    field_size: int = setting("side of the LR crops for them, odd", minimum=33)
    field_images: int = setting("images of `maps_set` to average over", minimum=1)
    crop_runs: tuple[str, ...] | None = setting(
        "rows whose upscaled crops are shown; null: every row", default=None
    )
    crops: tuple[Crop, ...] = setting("rows of Figures 7 and 8, upscaled by the rows of their scale")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
    """An ablation table of the report: the paper's Table 1, 2 or 3, or another comparison with a baseline."""

    title: str = setting("heading of the table")
    baseline: str = setting("the run that the others are compared with")
    rows: tuple[str, ...] = setting("the runs, in order; the baseline among them")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the report shows; nothing here changes a number."""

    title: str = setting("title of the front page")
    summary: str = setting("what was run, in a sentence or two, for the front page")
    labels: Mapping[str, str] = setting("run: the name it has in tables and figures; without one, its key")
    table1: Ablation = setting("in the paper: kernel size")
    table2: Ablation = setting("in the paper: residual learning")
    table3: Ablation = setting("in the paper: pixel normalisation")
    table4: Mapping[str, tuple[str, ...]] = setting("method of Table 4: its runs, one per scale")
    curves: tuple[str, ...] = setting("runs of Figure 6, cumulative")
    seeds: Mapping[str, tuple[str, ...]] = setting("run: the same run with other seeds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Params:
    """A whole parameter file; `pipeline` is the name that the dvc.yaml beside it has under `vars`."""

    pipeline: str = setting("not in the file: the name of the pipeline, which is that of its folder")

    datasets: Mapping[str, Dataset] = setting("name: data set")
    downscale: Downscale = setting("low-resolution images")
    recipes: Mapping[str, Recipe] = setting("name: a training recipe")
    history: History = setting("what a training records")
    execution: Execution = setting("where and how computations run")
    runs: Mapping[str, Run] = setting("name: a network trained here")
    finetuned: Mapping[str, Finetuned] = setting(
        "name: a network trained here from the weights of another row"
    )
    released: Mapping[str, Released] = setting("name: a network with released weights")
    evaluate: Evaluate = setting("evaluation protocol")
    complexity: Complexity = setting("image size for which Multi-Adds are counted")
    features: Features = setting("feature maps, receptive fields and crops of the figures")
    report: Report = setting("tables and figures")

    def names(self, use: Literal["train", "test"]) -> tuple[str, ...]:
        """Return the names of the data sets of one use, in the file's order."""
        return tuple(name for name, dataset in self.datasets.items() if dataset.use == use)

    @property
    def rows(self) -> dict[str, Row]:
        """Everything that is evaluated, by name: bicubic at every scale, `released`, then `trained`."""
        bicubic = {
            f"bicubic_x{scale}": Interpolation(network="bicubic", scale=scale, options={})
            for scale in self.downscale.scales
        }
        return {**bicubic, **self.released, **self.trained}

    def recipe_of(self, run: str) -> Recipe:
        """Return the recipe of a row that is trained here."""
        return self.recipes[self.trained[run].recipe]

    @property
    def trained(self) -> dict[str, Run]:
        """Everything that is trained here, by name: `runs`, then `finetuned`."""
        return {**self.runs, **self.finetuned}

    @property
    def patch_sizes(self) -> dict[int, int]:
        """Return by scale the side of the largest LR patch of the runs; 1: nothing is trained."""
        sizes = dict.fromkeys(self.downscale.scales, 1)
        for name, run in self.trained.items():
            sizes[run.scale] = max(sizes[run.scale], self.recipe_of(name).patch_size)
        return sizes

    def parent_of(self, run: str) -> str | None:
        """Return the row whose weights a run starts from; None: random ones, or no run has this name."""
        row = self.trained.get(run)
        return row.init_from if isinstance(row, Finetuned) else None
