"""The pyfunc model that MLflow's registry loads: the network of a run. MLflow executes this file.

Shape letters: B batch, H and W the LR size, s the scale.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from alkdnet.device import choose_device
from alkdnet.inference.upscaler import Upscaler
from alkdnet.weights.runs import load_run


class RegisteredNetwork(PythonModel):
    """The network in weights.safetensors and run.json, on a GPU if there is one."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights; the two artifacts are in one folder, as in a run's."""
        model, _ = load_run(Path(context.artifacts["weights"]).parent)
        self._upscaler = Upscaler(model, device=choose_device("auto"))

    # MLflow knows the type without parameters, and warns of others.
    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> Any:
        """Return the output (B, 3, Hs, Ws) for RGB of (B, 3, H, W), float32 in [0, 1]; not clipped."""
        return self._upscaler.forward(torch.from_numpy(model_input)).cpu().numpy()


mlflow.models.set_model(RegisteredNetwork())
