import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.reporting.figures.cost import CostPoint, cost_figure, cost_panel, cost_plan, legend_sizes
from alkdnet.reporting.figures.crops import crop_rows, crops_plans
from alkdnet.reporting.figures.curves import curves_plan, validation_curve
from alkdnet.reporting.figures.gains import gains_by_set, gains_figure, gains_plan, swarm
from alkdnet.reporting.figures.maps import fields_figure
from alkdnet.reporting.figures.plans import figure_plans
from alkdnet.reporting.figures.style import FigurePlan, write_figure
from alkdnet.reporting.study import Study
from alkdnet.results.features import FeaturesRecord
from alkdnet.results.history import HistoryRow


def _with(study: Study, name: str, **changes: object) -> Study:
    """Return the study with another row of this name."""
    row = dataclasses.replace(study.rows[name], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(study, rows={**study.rows, name: row})


def test_all_figures_in_order_and_what_is_missing(study: Study) -> None:
    plans, missing = figure_plans(study)
    assert [each.name for each in plans] == ["crop_1", "cost", "gains_x2", "curves", "maps", "fields"]
    assert [each.name for each in plans if each.lines] == ["cost", "gains_x2", "curves"]
    assert missing == ["Crop of EienNoWith: the licence of manga109 forbids showing it."]


def test_without_features_the_other_figures_remain(study: Study) -> None:
    rows = {name: dataclasses.replace(row, features=None) for name, row in study.rows.items()}
    plans, missing = figure_plans(dataclasses.replace(study, rows=rows))
    assert [each.name for each in plans] == ["cost", "gains_x2", "curves"]
    assert "Feature maps (Figure 5): no results to draw." in missing


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("alkdnet_x2/maps/after_fsrl.npy", None),
        ("alkdnet_x2/maps/after_fsrl.npy", b""),
        ("alkdnet_x2/maps/after_fsrl.npy", b"no array"),
        ("alkdnet_x2/maps/after_fsrl.npy", 200),
        ("bsrn_x2/field.npy", 1000),
        ("bicubic_x2/original.png", None),
        ("bsrn_x2/crop.png", b"no picture"),
        ("bsrn_x2/crop.png", 600),
    ],
)
def test_damaged_features_are_named(
    study: Study, tree: Paths, file: str, content: bytes | int | None
) -> None:
    path = tree.features("x").parent / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(UserError, match=r"delete the folder and run its stage again") as error:
        figure_plans(study)
    assert str(error.value).startswith(f"{path}: ")


def test_fields_show_all_squares_and_what_is_around_them() -> None:
    values = np.full((33, 33), 1e-9)
    values[14:19, 14:19] = 1
    axes = fields_figure([("a", values, {"0.5": 1, "0.9": 2, "0.99": 4})]).axes[0]
    assert axes.get_xlabel() == "50% within 3×3\n90% within 5×5\n99% within 9×9"
    assert [patch.get_width() for patch in axes.patches] == [3, 5, 9]
    assert axes.get_xlim() == (-8.5, 8.5)


def test_a_crop_of_an_absent_scale_is_left_out(study: Study) -> None:
    features = study.params.features
    params = dataclasses.replace(
        study.params,
        downscale=dataclasses.replace(study.params.downscale, scales=(2,)),
        features=dataclasses.replace(
            features, crops=(*features.crops, dataclasses.replace(features.crops[0], scale=4))
        ),
    )
    rows = {name: row for name, row in study.rows.items() if name != "bicubic_x4"}
    assert len(crop_rows(dataclasses.replace(study, params=params, rows=rows))) == 1


def test_tiles_are_the_methods_of_table_4(study: Study) -> None:
    (row,) = crop_rows(study)
    assert [tile.label for tile in row.tiles] == ["Original", "Bicubic", "IMDN", "BSRN", "ALKDNet"]
    assert row.tiles[-1].psnr == 35.3
    assert row.title == "img_001 (Set5), ×2"
    crop = study.params.features.crops[0]
    # The whole image of the made-up tree is reduced to half its size.
    assert row.box == (crop.left / 2, crop.top / 2, crop.width / 2, crop.height / 2)


def test_where_alkdnet_is_below_its_rivals_the_caption_says_so(study: Study) -> None:
    (plan,) = crops_plans(study)
    assert "is below" not in plan.caption
    features = study.rows["alkdnet_x2"].features
    assert features is not None
    crop = dataclasses.replace(features.crops[0], psnr=34.9)
    worse = FeaturesRecord(maps=None, field=None, crops=(crop,), missing=())
    (plan,) = crops_plans(_with(study, "alkdnet_x2", features=worse))
    assert plan.caption.endswith(" On img\\_001 (Set5), ×2, ALKDNet is below BSRN.")


def test_gain_is_the_difference_on_the_same_image(study: Study) -> None:
    ours, bsrn = study.rows["alkdnet_x2"], study.rows["bsrn_x2"]
    gains = gains_by_set(ours, bsrn)
    assert {name: len(gain) for name, gain in gains.items()} == {"set5": 5, "urban100": 12}
    assert ours.images is not None
    assert bsrn.images is not None
    assert gains["set5"]["img_002"] == pytest.approx(ours.images["psnr"][1] - bsrn.images["psnr"][1])


def test_a_single_dot_is_no_panel(study: Study) -> None:
    images = study.rows["alkdnet_x2"].images
    assert images is not None
    one = pd.concat([images[images["set"] == "set5"][:1], images[images["set"] == "urban100"]])
    assert list(
        gains_by_set(dataclasses.replace(study.rows["alkdnet_x2"], images=one), study.rows["bsrn_x2"])
    ) == ["urban100"]
    assert gains_plan(_with(study, "alkdnet_x2", images=one[:1]), 2) is None
    only_ours = {
        name: dataclasses.replace(row, cost=None) for name, row in study.rows.items() if name != "alkdnet_x2"
    }
    rows = {**only_ours, "alkdnet_x2": study.rows["alkdnet_x2"]}
    report = dataclasses.replace(study.params.report, table4={"ALKDNet": ("alkdnet_x2",)})
    sets = {
        **study.params.datasets,
        "own": dataclasses.replace(study.params.datasets["set5"], source="folder"),
    }
    params = dataclasses.replace(study.params, report=report, datasets={"own": sets["own"]})
    scores = {"own": study.rows["alkdnet_x2"].scores["set5"]}
    lone = _with(dataclasses.replace(study, params=params, rows=rows), "alkdnet_x2", scores=scores)
    assert cost_plan(lone) is None


def test_no_two_dots_overlap_and_the_same_values_give_the_same_places() -> None:
    values = np.random.default_rng(0).normal(0.05, 0.1, 109)
    offsets = swarm(values, 0.02)
    dots = np.stack([offsets, values / 0.02], axis=1)
    distances = np.hypot(*(dots[:, None] - dots).transpose(2, 0, 1)) + 9 * np.eye(len(dots))
    assert distances.min() > 1 - 1e-6
    assert (offsets == swarm(values, 0.02)).all()


def test_drawn_dots_do_not_overlap() -> None:
    random = np.random.default_rng(1)
    counts = {"a": 100, "b": 109, "c": 14}
    gains = {name: pd.Series(random.normal(0.05, 0.08, count)) for name, count in counts.items()}
    figure = gains_figure(gains, labels={name: name for name in gains}, scale=2)
    figure.draw_without_rendering()
    assert figure.get_figwidth() < 13
    for axes in figure.axes:
        (dots,) = axes.collections
        places = axes.transData.transform(dots.get_offsets())
        diameter = np.sqrt(dots.get_sizes()[0]) * figure.dpi / 72
        distances = np.hypot(*(places[:, None] - places).transpose(2, 0, 1)) + 99 * np.eye(len(places))
        assert distances.min() > diameter


def test_a_curve_needs_two_validations(study: Study) -> None:
    assert list(validation_curve(study.rows["bsrn_x2"]).index) == [50, 100, 150, 200, 250, 300]
    once = [HistoryRow(7, 0.1, 0.1, 30.0)]
    assert curves_plan(_with(study, "kernel9_x2", history=once)) is None


def test_curves_without_a_common_iteration_are_drawn(study: Study, tmp_path: Path) -> None:
    history = [HistoryRow(7, 0.1, 0.1, 30.0), HistoryRow(9, 0.1, 0.1, 31.0)]
    plan = curves_plan(_with(study, "kernel9_x2", history=history))
    assert plan is not None
    write_figure(tmp_path, plan)
    assert (tmp_path / "curves.svg").stat().st_size > 2_000


def test_old_methods_do_not_press_the_others_together(study: Study) -> None:
    panel = cost_panel(study, 2)
    assert panel is not None
    title, points = panel
    assert title == "Urban100 ×2"
    published = {point.label for point in points if not point.measured}
    # Of 5.83 dB over bicubic, FSRCNN gains 3.00 and BSRN 5.46; DRRN has 6796.9 G Multi-Adds.
    assert not published & {"Bicubic", "SRCNN", "FSRCNN", "VDSR", "DRRN"}
    assert {"BSRN", "HSNet", "MLRN", "ALKDNet"} <= published


def _texts(draw: Callable[[], Figure]) -> list[str]:
    figure = draw()
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_each_network_is_named_once_where_published_and_measured_meet() -> None:
    def point(psnr: float, *, measured: bool) -> CostPoint:
        return CostPoint(
            label="A", multi_adds_g=80, psnr=psnr, parameters_k=300, measured=measured, ours=False
        )

    far = CostPoint(label="B", multi_adds_g=20, psnr=30, parameters_k=300, measured=False, ours=True)
    near = [point(38.00, measured=False), point(38.01, measured=True), far]
    apart = [point(38.00, measured=False), point(31.00, measured=True), far]
    assert sorted(_texts(lambda: cost_figure([("near", near)], output="1280×720"))) == ["A", "B"]
    assert sorted(_texts(lambda: cost_figure([("apart", apart)], output="1280×720"))) == ["A", "A", "B"]


def _drawn(points: list[CostPoint]) -> Axes:
    figure = cost_figure([("panel", points)], output="1280×720")
    figure.draw_without_rendering()
    return figure.axes[0]


def _crowd(count: int) -> list[CostPoint]:
    """Networks of one cost, 0.02 dB apart, which do not leave room for all names beside their points."""
    return [
        CostPoint(
            label=f"Network {index}",
            multi_adds_g=80 + 2 * (index % 2),
            psnr=32 + 0.02 * index,
            parameters_k=300,
            measured=False,
            ours=False,
        )
        for index in range(count)
    ] + [CostPoint(label="far", multi_adds_g=20, psnr=31.5, parameters_k=300, measured=False, ours=True)]


def test_labels_do_not_overlap_and_a_line_connects_those_that_stand_away() -> None:
    axes = _drawn(_crowd(6))
    inch = axes.figure.dpi / 72
    names = [text for text in axes.texts if isinstance(text, Annotation)]
    assert len(names) == 7
    boxes = {name: Text.get_window_extent(name) for name in names}
    for first, second in itertools.combinations(boxes.values(), 2):
        assert not first.overlaps(second)
    away = 0
    for name, box in boxes.items():
        point = axes.transData.transform(name.xy)
        gap = np.hypot(*np.maximum(0, np.maximum(box.min - point, point - box.max))) / inch
        # The radius is near 9 points.
        assert (name.arrow_patch is not None) == (gap > 16)
        away += name.arrow_patch is not None
    assert away


def test_areas_fit_the_networks_of_the_figure() -> None:
    small = [dataclasses.replace(point, parameters_k=point.parameters_k / 50) for point in _crowd(2)]
    large = [dataclasses.replace(point, parameters_k=700) for point in _crowd(2)]
    areas = [max(each.get_sizes()[0] for each in _drawn(points).collections) for points in (small, large)]
    assert areas[0] == pytest.approx(areas[1])
    assert legend_sizes([5.6, 7.0, 12.3]) == [5, 10]
    assert legend_sizes([227, 372, 769]) == [200, 700]
    assert legend_sizes([310, 340]) == [300]


def test_the_last_bits_of_the_layout_are_not_in_an_svg(tmp_path: Path) -> None:
    """They vary from run to run, and matplotlib derives ids from them."""

    def draw(shift: float) -> Figure:
        figure = Figure(figsize=(3, 2))
        figure.add_axes((0.1 + shift, 0.1, 0.8, 0.8)).plot([0, 1])
        return figure

    drawn = []
    for shift in (0.0, 1e-14):
        plan = FigurePlan(name="plan", title="", caption="", draw=partial(draw, shift))
        write_figure(tmp_path, plan)
        drawn.append((tmp_path / "plan.svg").read_bytes())
    assert drawn[0] == drawn[1]
