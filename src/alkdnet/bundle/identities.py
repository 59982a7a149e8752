"""Run identities by the code, parameters and data of this checkout."""

from functools import cache

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.data.packs import PackedImages
from alkdnet.data.validation_images import Pairs, read_validation
from alkdnet.errors import UserError
from alkdnet.training.runtime.identity import run_identity


class Identities:
    """Computes run identities; reads the data of each scale once.

    Args:
        params: of the pipeline.
        paths: its outputs, with patches and validation images.
    """

    def __init__(self, params: Params, paths: Paths) -> None:
        self._params = params
        self._paths = paths
        self._data = cache(self._read)

    def of(self, run: str) -> str:
        """Return the identity of a run.

        Raises:
            UserError: its data, or the weights that it starts from, are missing or damaged.
        """
        row = self._params.trained[run]
        start = self._paths.start(row)
        if start is not None and not start.is_file():
            raise UserError(f"{run} starts from the weights of {start.parent.name}, but there is no {start}")
        data, validation = self._data(row.scale)
        return run_identity(
            row,
            self._params.recipe_of(run),
            self._params.history,
            data=data,
            validation=validation,
            start=start,
        )

    def data(self, scale: int) -> str:
        """Return the digest of the packed training images of a scale."""
        return self._data(scale)[0]

    def _read(self, scale: int) -> tuple[str, Pairs]:
        packed = PackedImages.open(self._paths.patches, scale)
        return packed.digest, read_validation(
            self._paths.validation(scale), self._params.history.validation_sets
        )
