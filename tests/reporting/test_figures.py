import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.reporting.cost_points import cost_panel
from alkdnet.reporting.feature_files import read_features
from alkdnet.reporting.figures.cost import Point, cost_figure, legend_sizes
from alkdnet.reporting.figures.curves import curves_figure, drawable, validation_curve
from alkdnet.reporting.figures.gains import gains_frame
from alkdnet.reporting.figures.maps import Field, fields_figure
from alkdnet.reporting.figures.style import write_figure
from alkdnet.reporting.pictures import pictures
from alkdnet.results.tree import read_results

NAMES = ["crops.png", "cost.png", "gains_x2.png", "curves.png", "maps.png", "fields.png"]


def test_all_figures_in_order_and_what_is_missing(params: Params, tree: Paths) -> None:
    drawn, missing = pictures(params, tree, read_results(params, tree))
    assert [each.file for each in drawn] == NAMES
    assert missing == ["Detail of EienNoWith: the licence of manga109 forbids showing it."]


def test_without_features_the_other_figures_remain(params: Params, tree: Paths) -> None:
    (tree.features / "features.json").unlink()
    drawn, missing = pictures(params, tree, read_results(params, tree))
    assert [each.file for each in drawn] == ["cost.png", "gains_x2.png", "curves.png"]
    assert "the stage `features` has not run yet" in missing[-1]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("maps/after_fsrl.npy", None),
        ("maps/after_fsrl.npy", b""),
        ("maps/after_fsrl.npy", b"no array"),
        ("maps/after_fsrl.npy", 200),
        ("fields/bsrn_x2.npy", 1000),
        ("crops/01/original.png", None),
        ("crops/01/bsrn_x2.png", b"no picture"),
        ("crops/01/bsrn_x2.png", 600),
        ("features.json", b'{"maps": nul'),
        ("features.json", b"[]"),
        ("features.json", b'{"maps": null, "fields": [], "missing": []}'),
        ("features.json", b'{"maps": {"files": 3}, "fields": [], "crops": [], "missing": []}'),
    ],
)
def test_damaged_features_are_named(
    params: Params, tree: Paths, file: str, content: bytes | int | None
) -> None:
    path = tree.features / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(UserError, match=r"run the stage `features` again") as error:
        pictures(params, tree, read_results(params, tree))
    assert str(error.value).startswith(f"{path}: ")


def test_fields_show_all_squares_and_what_is_around_them() -> None:
    values = np.full((33, 33), 1e-9)
    values[14:19, 14:19] = 1
    figure = fields_figure([Field(label="a", values=values, radii={0.5: 1, 0.9: 2, 0.99: 4})])
    axes = figure.axes[0]
    assert axes.get_xlabel() == "50% within 3×3\n90% within 5×5\n99% within 9×9"
    assert [patch.get_width() for patch in axes.patches] == [3, 5, 9]
    assert axes.get_xlim() == (-8.5, 8.5)


def test_tiles_are_the_methods_of_table_4(params: Params, tree: Paths) -> None:
    features = read_features(
        tree.features,
        labels={name: name for name in params.runs},
        shown={"bicubic_x2": "Bicubic", "alkdnet_x2": "ALKDNet"},
        set_labels={"set5": "Set5"},
    )
    assert features is not None
    (row,) = features.crops
    assert [tile.label for tile in row.tiles] == ["Original", "Bicubic", "ALKDNet"]
    assert row.tiles[2].psnr == 35
    # A run that is no longer in the parameter file.
    assert [field.label for field in features.fields] == ["bsrn_x2", "alkdnet_x2"]


def test_gain_is_the_difference_on_the_same_image(params: Params, tree: Paths) -> None:
    runs = read_results(params, tree).runs
    frame = gains_frame([runs["alkdnet_x2"]], runs["bicubic_x2"]).set_index(["set", "image"])
    assert len(frame) == 17
    ours, bicubic = (runs[name].images for name in ("alkdnet_x2", "bicubic_x2"))
    assert ours is not None
    assert bicubic is not None
    assert frame["gain"]["set5", "img_002"] == pytest.approx(ours["psnr"][1] - bicubic["psnr"][1])


def test_a_curve_needs_two_validations(params: Params, tree: Paths) -> None:
    runs = read_results(params, tree).runs
    assert validation_curve(runs["bsrn_x2"])["iteration"].tolist() == [50, 100, 150, 200, 250, 300]
    assert drawable([runs["bicubic_x2"], runs["bsrn_x2"]]) == [runs["bsrn_x2"]]


def test_curves_without_a_common_iteration_are_drawn(params: Params, tree: Paths, tmp_path: Path) -> None:
    path = tree.model("kernel9_x2") / "history.csv"
    path.write_text(
        "iteration,loss,learning_rate,validation_psnr\n7,0.1,0.1,30\n9,0.1,0.1,31\n", encoding="utf-8"
    )
    runs = read_results(params, tree).of(("bsrn_x2", "kernel9_x2"))
    write_figure(tmp_path / "curves.png", lambda: curves_figure(runs, validation_set="Set5"))
    assert (tmp_path / "curves.png").stat().st_size > 2_000


def _texts(draw: Callable[[], Figure]) -> list[str]:
    figure = draw()
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_each_network_is_named_once_where_published_and_measured_meet() -> None:
    def point(psnr: float, *, measured: bool) -> Point:
        return Point(label="A", multi_adds_g=80, psnr=psnr, parameters_k=300, measured=measured, ours=False)

    far = Point(label="B", multi_adds_g=20, psnr=30, parameters_k=300, measured=False, ours=True)
    near = [point(38.00, measured=False), point(38.01, measured=True), far]
    apart = [point(38.00, measured=False), point(31.00, measured=True), far]
    assert sorted(_texts(lambda: cost_figure([("near", near)], output="1280×720"))) == ["A", "B"]
    assert sorted(_texts(lambda: cost_figure([("apart", apart)], output="1280×720"))) == ["A", "A", "B"]


def _drawn(points: list[Point]) -> Axes:
    figure = cost_figure([("panel", points)], output="1280×720")
    figure.draw_without_rendering()
    return figure.axes[0]


def _crowd(count: int) -> list[Point]:
    """Networks of one cost, 0.02 dB apart, which do not leave room for all names beside their points."""
    return [
        Point(
            label=f"Network {index}",
            multi_adds_g=80 + 2 * (index % 2),
            psnr=32 + 0.02 * index,
            parameters_k=300,
            measured=False,
            ours=False,
        )
        for index in range(count)
    ] + [Point(label="far", multi_adds_g=20, psnr=31.5, parameters_k=300, measured=False, ours=True)]


def test_names_do_not_cover_each_other_and_a_line_leads_from_those_that_stand_away() -> None:
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


def test_old_methods_do_not_press_the_others_together(params: Params, tree: Paths) -> None:
    panel = cost_panel(params, read_results(params, tree), 2)
    assert panel is not None
    title, points = panel
    assert title == "Urban100 ×2"
    published = {point.label for point in points if not point.measured}
    # Of 5.83 dB over bicubic, FSRCNN gains 3.00 and BSRN 5.46; DRRN has 6796.9 G Multi-Adds.
    assert not published & {"Bicubic", "SRCNN", "FSRCNN", "VDSR", "DRRN"}
    assert {"BSRN", "HSNet", "MLRN", "ALKDNet"} <= published
