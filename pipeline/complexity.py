"""Parameters, Multi-Adds and activations of every row."""

from stage import Stage, run

from alkdnet.analysis.complexity import count, lr_size
from alkdnet.networks import build
from alkdnet.results.costs import write_costs


def complexity(stage: Stage) -> None:
    """Count for the LR image whose HR image has the size in the parameters."""
    size = stage.params.complexity
    costs = {}
    for name, row in stage.params.rows.items():
        height, width = lr_size(row.scale, hr_height=size.height, hr_width=size.width)
        model = build(row.network, row.scale, row.options)
        costs[name] = count(model, lr_height=height, lr_width=width)
    write_costs(stage.paths.complexity, costs)


if __name__ == "__main__":
    run(complexity)
