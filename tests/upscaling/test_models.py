from pathlib import Path

import pytest
import torch

from alkdnet.errors import UserError
from alkdnet.networks import build
from alkdnet.upscaling.models import open_model
from alkdnet.weights.files import save_weights
from tests.records import write_run_record


@pytest.mark.parametrize("suffix", [".PTH", ".pt", ".ckpt", ".safetensors"])
def test_weights_tell_their_network_in_every_format(tmp_path: Path, suffix: str) -> None:
    model = build("bsrn", 2, {})
    file = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        save_weights(file, model)
    else:
        torch.save({"params": model.state_dict()}, file)
    # To guess takes seconds: all networks are built.
    opened = open_model(file, 2, None if suffix == ".PTH" else "bsrn").module
    assert type(opened) is type(model)
    torch.testing.assert_close(opened.state_dict(), model.state_dict(), rtol=0, atol=0)
    with pytest.raises(UserError, match="do not fit ALKDNet"):
        open_model(file, 2, "alkdnet")
    if suffix == ".PTH":
        with pytest.raises(UserError, match="these weights of bsrn upscale by 2, not by 3"):
            open_model(file, 3)


def test_weights_that_fit_two_networks_or_scales_ask_for_a_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"bsrn", "imdn"}
    monkeypatch.setattr("alkdnet.upscaling.models._has_names", lambda form, _: form.network in chosen)
    monkeypatch.setattr("alkdnet.upscaling.models._fits", lambda *_: True)
    save_weights(tmp_path / "net.safetensors", build("bsrn", 2, {}))
    with pytest.raises(UserError, match="fits bsrn and imdn; choose one by --network"):
        open_model(tmp_path / "net.safetensors", 2)
    chosen.remove("imdn")
    with pytest.raises(UserError, match=r"fits every scale \(2, 3, 4\); choose one by --scale"):
        open_model(tmp_path / "net.safetensors")


def test_a_folder_that_is_no_run_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a directory, not a file of weights"):
        open_model(tmp_path, 2)


def test_the_record_beside_the_weights_names_the_network(tmp_path: Path) -> None:
    options = {"blocks": 1, "channels": 16}
    model = build("alkdnet", 2, options)
    save_weights(tmp_path / "weights.safetensors", model)
    write_run_record(tmp_path, network="alkdnet", scale=2, options=options)
    opened = open_model(tmp_path / "weights.safetensors").module
    assert not opened.training
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(opened.state_dict()[name], tensor, rtol=0, atol=0)
    with pytest.raises(UserError, match="upscale by 2, not by 3"):
        open_model(tmp_path / "weights.safetensors", 3)
    (tmp_path / "run.json").unlink()
    with pytest.raises(UserError, match="do not fit ALKDNet"):
        open_model(tmp_path / "weights.safetensors", 2)
