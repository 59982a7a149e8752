"""What each network gains over bicubic interpolation, image by image."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from alkdnet.reporting.figures.style import ACCENT, INK, MUTED, colour_of, new_figure
from alkdnet.results.tree import RunResults


def gains_frame(runs: Sequence[RunResults], bicubic: RunResults) -> pd.DataFrame:
    """Return the PSNR of every image minus that of bicubic: columns run, set, image, gain (dB)."""
    columns = ["run", "set", "image", "gain"]
    if bicubic.images is None:
        return pd.DataFrame(columns=columns)
    parts = []
    for run in runs:
        if run.images is None:
            continue
        both = run.images.merge(bicubic.images, on=["set", "image"], suffixes=("", "_bicubic"))
        both["gain"] = both["psnr"] - both["psnr_bicubic"]
        parts.append(both.assign(run=run.name)[columns])
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def gains_figure(
    gains: pd.DataFrame, *, labels: dict[str, str], set_labels: dict[str, str], main: str, scale: int
) -> Figure:
    """Draw the gains, a panel for each set, its images sorted by the gain of the run `main`.

    `gains` is a `gains_frame` that is not empty; runs are drawn in the order of `labels`.
    """
    sets = list(dict.fromkeys(gains["set"]))
    counts = {name: gains[gains["set"] == name]["image"].nunique() for name in sets}
    # A set of 5 images needs room for its dots, one of 100 must not take all the width.
    widths = [0.6 + min(counts[name], 100) ** 0.5 / 4 for name in sets]
    figure = new_figure(min(10.5, max(5.5, 1.2 + 2.0 * sum(widths))), 3.8)
    axes_of = figure.subplots(1, len(sets), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, name in zip(axes_of, sets, strict=True):
        wide = gains[gains["set"] == name].pivot(index="image", columns="run", values="gain")
        order = wide.sort_values(main if main in wide else wide.columns[0], kind="stable").index
        size = 34 if counts[name] <= 20 else 9
        others = [run for run in labels if run != main and run in wide]
        for index, run in enumerate([*others, *([main] if main in wide else [])]):
            axes.scatter(
                range(len(order)),
                wide[run][order],
                s=size,
                color=ACCENT if run == main else colour_of(index + 1),
                linewidths=0,
                alpha=1 if run == main else 0.65,
                label=labels[run],
                zorder=3 if run == main else 2,
            )
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_title(f"{set_labels[name]} ({counts[name]})")
        axes.set_xticks([])
        axes.set_xlabel("images", color=MUTED)
        axes.grid(visible=False, axis="x")
        axes.margins(x=0.08)
    axes_of[0].set_ylabel(f"PSNR minus bicubic's at ×{scale}, dB")
    handles, names = axes_of[0].get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside lower center", ncols=min(6, len(names)))
    return figure
