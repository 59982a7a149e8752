"""MLflow as a view of the pipeline: training runs live, everything else mirrored from the outputs.

Nothing outside this package imports MLflow, nothing reads from it, and no failure of it stops anything.
docs/tracking.md says what a run in MLflow holds.
"""

from alkdnet.tracking.live import open_tracker
from alkdnet.tracking.sync import SyncResult, sync, sync_or_warn

__all__ = ["SyncResult", "open_tracker", "sync", "sync_or_warn"]
