"""MLflow as a view of the pipeline: trainings are logged live, everything else is mirrored from the outputs.

Nothing outside this package imports MLflow, nothing reads from it, and no failure of it stops anything.
docs/tracking.md lists what a run in MLflow contains.
"""

from alkdnet.tracking.live import Intervals, open_tracker
from alkdnet.tracking.sync import SyncResult, sync, sync_or_warn

__all__ = ["Intervals", "SyncResult", "open_tracker", "sync", "sync_or_warn"]
