"""The study that a report shows: the rows of a parameter file with their results."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import pandas as pd

from alkdnet.config.params import Params, Recipe, Row
from alkdnet.config.paths import Paths
from alkdnet.paper.published import CLASSIC_METHODS, SETS
from alkdnet.results.costs import Cost, read_costs
from alkdnet.results.efficiency import Machine, Measurement, read_efficiency
from alkdnet.results.features import FeaturesRecord
from alkdnet.results.history import HistoryRow, read_history
from alkdnet.results.run import HISTORY, RunRecord
from alkdnet.results.scores import COLUMNS, Scores
from alkdnet.sources.catalogue import source

BICUBIC = "Bicubic"
FIGURE_LABEL = 28
_COLUMN_OF_SOURCE = {column.lower(): column for column in SETS}


@dataclass(frozen=True, kw_only=True)
class Score:
    """A row's means over the images of one test set, PSNR in dB; `complete`: over all images of the set."""

    images: int
    psnr: float
    ssim: float
    complete: bool


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One row of the study; missing results are empty or None.

    Attributes:
        name: its key.
        label: its name in tables and figures.
        row: network, scale and options.
        scores: by test set, by the protocol that the section `evaluate` describes.
        classic: likewise by the classic protocol, where it was measured.
        missing: by test set, what could not be scored.
        images: one row per image, as in `Scores.images`.
        cost: of its network.
        history: of its training.
        record: run.json.
        features: what the figures show of it, in the folder `features_folder`.
    """

    name: str
    label: str
    row: Row
    scores: Mapping[str, Score]
    classic: Mapping[str, Score]
    missing: Mapping[str, str]
    images: pd.DataFrame | None
    cost: Cost | None
    history: Sequence[HistoryRow]
    record: RunRecord | None
    features: FeaturesRecord | None
    features_folder: Path

    @property
    def short_label(self) -> str:
        """Return the label for figures, at most `FIGURE_LABEL` characters."""
        return self.label if len(self.label) <= FIGURE_LABEL else f"{self.label[: FIGURE_LABEL - 1]}…"

    def with_published_protocol(self, method: str) -> Self:
        """Return the row with the scores by the protocol of a method's row of Table 4."""
        return replace(self, scores=self.classic) if self.uses_classic_protocol(method) else self

    def uses_classic_protocol(self, method: str) -> bool:
        """Return whether it is compared with a method's row of Table 4 by the classic protocol."""
        return method in CLASSIC_METHODS and bool(self.classic)

    @property
    def status(self) -> Literal["done", "unrecorded", "waiting"]:
        """Return how far a training is; `unrecorded`: it was evaluated, but its folder is not available."""
        return "done" if self.record else "unrecorded" if self.images is not None else "waiting"

    @property
    def recipe(self) -> Recipe | None:
        """Return the recipe that the record of its training states; None: not trained here, or no record."""
        return self.record.training.recipe if self.record and self.record.training else None


@dataclass(frozen=True, kw_only=True)
class Study:
    """All rows of a parameter file, by name.

    `efficiency`: measurements of networks, by machine.
    """

    params: Params
    rows: Mapping[str, StudyRow]
    efficiency: Sequence[tuple[Machine, Sequence[Measurement]]] = ()

    @classmethod
    def read(cls, params: Params, paths: Paths) -> Self:
        """Read the outputs of the stages; those of rows that the parameter file no longer has are ignored.

        Raises:
            UserError: a file is damaged.
        """
        costs = read_costs(paths.complexity) if paths.complexity.is_file() else {}
        return cls(
            params=params,
            rows={name: _read_row(name, params, paths, costs.get(name)) for name in params.rows},
            efficiency=read_efficiency(paths.efficiency),
        )

    @property
    def sets(self) -> tuple[str, ...]:
        """Return the names of the test sets."""
        return self.params.names("test")

    @cached_property
    def columns(self) -> dict[str, str]:
        """Return the test sets that are columns of Table 4: {name in the pipeline: name in the paper}."""
        sources = {name: self.params.datasets[name].source for name in self.sets}
        return {name: _COLUMN_OF_SOURCE[key] for name, key in sources.items() if key in _COLUMN_OF_SOURCE}

    @property
    def scales(self) -> list[int]:
        """Return the scales of all rows, smallest first."""
        return sorted({each.row.scale for each in self.rows.values()})

    @property
    def trained(self) -> list[StudyRow]:
        """Return the rows that are trained here."""
        return [each for each in self.rows.values() if each.row.kind == "trained"]

    @property
    def released(self) -> list[StudyRow]:
        """Return the rows with released weights."""
        return [each for each in self.rows.values() if each.row.kind == "released"]

    def set_label(self, name: str) -> str:
        """Return the name of a test set for readers: the paper's where it has the set, else its own."""
        return self.columns.get(name, name)

    def of(self, names: Iterable[str]) -> list[StudyRow]:
        """Return those of the named rows that the parameter file has."""
        return [self.rows[name] for name in names if name in self.rows]

    def methods(self, scale: int) -> list[tuple[str, StudyRow]]:
        """Return (method, row) for the rows of Table 4 at one scale, in the order of the parameter file."""
        table4 = self.params.report.table4
        return [
            (method, row)
            for method, names in table4.items()
            for row in self.of(names)
            if row.row.scale == scale
        ]

    def with_published_protocol(self, scale: int) -> list[tuple[str, StudyRow]]:
        """Return `methods`, each with the scores by the protocol of its row of Table 4."""
        return [(method, row.with_published_protocol(method)) for method, row in self.methods(scale)]

    def images(self, rows: Iterable[StudyRow]) -> pd.DataFrame:
        """Return the scores of rows by image, with the columns run, set, image, height, width, psnr, ssim."""
        parts = [
            row.images.assign(run=row.name) for row in rows if row.images is not None and len(row.images)
        ]
        columns = ["run", *COLUMNS]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Return messages on missing results."""
        return (*self._missing_rows(), *self._missing_sets())

    def _missing_rows(self) -> Iterator[str]:
        # A folder of results without its folder of weights is whole: results are committed, weights are not.
        waiting = [row.name for row in self.trained if row.status == "waiting"]
        no_weights = [row.name for row in self.released if row.images is None and row.record is None]
        explained = {*waiting, *no_weights}
        report = self.params.report
        named = {
            *(name for table in (report.table1, report.table2, report.table3) for name in table.rows),
            *(name for names in (*report.table4.values(), *report.seeds.values()) for name in names),
            *report.curves,
            *self.params.features.field_runs,
            *(self.params.features.crop_runs or ()),
        }
        for status, names in (
            ("Not trained yet (no run.json)", waiting),
            (
                "Evaluated, record of the training not available (shown as the parameters state it)",
                [row.name for row in self.trained if row.status == "unrecorded"],
            ),
            ("Not evaluated, released weights not available", no_weights),
            (
                "Not evaluated yet",
                [n for n, row in self.rows.items() if row.images is None and n not in explained],
            ),
            (
                "Parameters and Multi-Adds not counted yet",
                [n for n, row in self.rows.items() if not row.cost],
            ),
            (
                "Named in the sections features and report, but no row of the parameter file",
                sorted(named - set(self.rows)),
            ),
        ):
            if names:
                yield f"{status}: {'all rows' if len(names) == len(self.rows) else ', '.join(names)}."

    def _missing_sets(self) -> Iterator[str]:
        """Return the test sets that no row was evaluated on, with the reason that the results state."""
        evaluated = [row for row in self.rows.values() if row.images is not None]
        for name in self.sets if evaluated else ():
            if any(name in row.scores for row in evaluated):
                continue
            reasons = dict.fromkeys(row.missing[name] for row in evaluated if name in row.missing)
            why = "; ".join(reasons) or "its images were not available"
            if source(self.params.datasets[name].source).kind == "gated":
                why += "; its licence forbids redistribution"
            yield f"Test set {name} not evaluated: {why}."


def _read_row(name: str, params: Params, paths: Paths, cost: Cost | None) -> StudyRow:
    row, model = params.rows[name], paths.model(name)
    default = BICUBIC if row.kind == "interpolation" else name
    scores = Scores.read(paths.evaluation(name)) if paths.evaluation(name).is_dir() else None
    record = RunRecord.read(model) if row.kind != "interpolation" and model.is_dir() else None
    features = FeaturesRecord.read(paths.features(name)) if paths.features(name).is_dir() else None
    return StudyRow(
        name=name,
        label=" ".join(params.report.labels.get(name, "").split()) or default,
        row=row,
        scores={} if scores is None else _scores(scores, ""),
        classic={} if scores is None else _scores(scores, "classic_"),
        missing={} if scores is None else scores.missing,
        images=None if scores is None else scores.images,
        cost=cost,
        history=read_history(model / HISTORY) if record and record.training else (),
        record=record,
        features=features,
        features_folder=paths.features(name),
    )


def _scores(scores: Scores, prefix: Literal["", "classic_"]) -> dict[str, Score]:
    """Return the means by the protocol whose columns have the prefix; none where it was not measured."""
    if f"{prefix}psnr" not in scores.images:
        return {}
    return {
        name: Score(
            images=mean.images,
            psnr=getattr(mean, f"{prefix}psnr"),
            ssim=getattr(mean, f"{prefix}ssim"),
            complete=name not in scores.missing,
        )
        for name, mean in scores.means().items()
    }
