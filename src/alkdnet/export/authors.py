"""Weights by the names that a network's authors use, for their code and for programs that build on it.

The rules are those of weights/released.py in the other direction, tested against the published files. They
stand here and not in the networks' modules because they decide no number: a new one retrains nothing.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from alkdnet.errors import UserError
from alkdnet.files import atomic_path
from alkdnet.weights.released import Rules, released_names, translate

_ESA: Rules = (
    (r"\.esa\.reduce\.", ".esa.conv1."),
    (r"\.esa\.stride\.", ".esa.conv2."),
    (r"\.esa\.context\.0\.", ".esa.conv_max."),
    (r"\.esa\.context\.2\.", ".esa.conv3."),
    (r"\.esa\.context\.4\.", ".esa.conv3_."),
    (r"\.esa\.skip\.", ".esa.conv_f."),
    (r"\.esa\.expand\.", ".esa.conv4."),
)
_CCA: Rules = ((r"\.cca\.excite\.", ".cca.conv_du."),)
_DISTILLATION: Rules = (
    (r"\.distill\.(\d+)\.", r".c<\1+1>_d."),
    (r"\.refine\.(\d+)\.", r".c<\1+1>_r."),
    (r"\.distill_last\.", ".c4."),
    (r"\.condense\.", ".c5."),
)
_BLUEPRINT: Rules = (
    *_DISTILLATION,
    *_ESA,
    *_CCA,
    (r"^(blocks\.\d+)\.norm\.", r"\1.pixel_norm."),
    (r"(?<!attention)\.pointwise\.", ".pw."),
    (r"(?<!attention)\.depthwise\.", ".dw."),
    (r"\.vertical\.", ".LoRA1."),
    (r"\.horizontal\.", ".LoRA2."),
    (r"\.square\.", ".small_conv."),
    (r"^blocks\.(\d+)\.", r"B<\1+1>."),
    (r"^shallow\.", "fea_conv."),
    (r"^fusion\.0\.", "c1."),
    (r"^fusion\.2\.", "c2."),
)
_LARGE_KERNEL: Rules = (
    (r"\.large\.project\.", ".PLKB.conv1."),
    (r"\.large\.vertical\.", ".PLKB.DWConv_Kx1."),
    (r"\.large\.horizontal\.", ".PLKB.DWConv_1xK."),
    (r"(\.refine\.\d+)\.local\.", r"\1.DWConv3."),
    (r"\.local\.", ".DWConv_3."),
    *_DISTILLATION,
    (r"^shallow\.", "conv_first."),
    (r"^fusion\.0\.", "conv."),
)
AUTHORS_NAMES: Mapping[str, Rules] = {
    "alkdnet": (*_BLUEPRINT, (r"^tail\.", "c_up.")),
    "bsrn": (*_BLUEPRINT, (r"^tail\.", "upsampler.upsampleOneStep.0.")),
    "cfsr": (
        (r"^shallow\.", "conv_first."),
        (r"^fusion\.0\.", "norm."),
        (r"^fusion\.1\.", "conv_after_body."),
        (r"^tail\.", "upsample.0."),
        (r"^blocks\.(\d+)\.convolution\.", r"layers.\1.conv."),
        (r"^blocks\.", "layers."),
        (r"\.modulation_scale$", ".layer_scale_1"),
        (r"\.feed_forward_scale$", ".layer_scale_2"),
        (r"\.modulation\.context\.2\.", ".attn.a.2.lkb_reparam."),
        (r"\.modulation\.context\.0\.", ".attn.a.0."),
        (r"\.modulation\.value\.", ".attn.v."),
        (r"\.modulation\.project\.", ".attn.proj."),
        (r"\.modulation\.norm\.", ".attn.norm."),
        (r"\.feed_forward\.expand\.", ".mlp.fc1."),
        (r"\.feed_forward\.depthwise\.", ".mlp.pos."),
        (r"\.feed_forward\.reduce\.", ".mlp.fc2."),
        (r"\.feed_forward\.norm\.", ".mlp.norm."),
    ),
    "imdn": (
        *_CCA,
        (r"\.refine\.(\d+)\.", r".c<\1+1>."),
        (r"\.refine_last\.", ".c4."),
        (r"\.condense\.", ".c5."),
        (r"^blocks\.(\d+)\.", r"IMDB<\1+1>."),
        (r"^shallow\.", "fea_conv."),
        (r"^fusion\.0\.", "c.0."),
        (r"^fusion\.2\.", "LR_conv."),
        (r"^tail\.", "upsampler.0."),
    ),
    "lkdn": (
        *_BLUEPRINT,
        (r"\.attention\.dilated\.", ".atten.depthwise_dilated."),
        (r"\.attention\.", ".atten."),
        (r"\.project\.", ".c6."),
        (r"^tail\.", "upsampler.0."),
    ),
    "lkfmixer": (
        *_LARGE_KERNEL,
        (r"\.modulation\.context\.0\.", ".SFMB.DWConv_3."),
        (r"\.modulation\.context\.1\.", ".SFMB.conv1_1."),
        (r"\.modulation\.project\.", ".SFMB.conv1_2."),
        (r"\.modulation\.", ".SFMB."),
        (r"\.selection\.weigh\.", ".FSB.conv1_1."),
        (r"\.selection\.", ".FSB."),
        (r"\.distillation\.", ".FDB."),
        (r"\.project\.", ".conv1."),
        (r"^blocks\.", "layers.layers."),
        (r"^tail\.", "upsampler.upsampleOneStep.0."),
    ),
    "lkmn": (
        *_LARGE_KERNEL,
        (r"\.distillation_norm\.", ".norm1."),
        (r"\.feed_forward_norm\.", ".norm2."),
        (r"\.feed_forward\.large_scale$", ".CGFN.scaler1.scale"),
        (r"\.feed_forward\.local_scale$", ".CGFN.scaler2.scale"),
        (r"\.feed_forward\.", ".CGFN."),
        (r"\.distillation\.", ".HFDB."),
        (r"\.project\.", ".conv1."),
        (r"^blocks\.", "layers."),
        (r"^tail\.", "upsampler.0."),
    ),
    "safmn": (
        (r"\.spatial\.0\.", ".norm1."),
        (r"\.spatial\.1\.depthwise\.", ".safm.mfr."),
        (r"\.spatial\.1\.aggregate\.", ".safm.aggr."),
        (r"\.channel\.0\.", ".norm2."),
        (r"\.channel\.1\.", ".ccm.ccm.0."),
        (r"\.channel\.3\.", ".ccm.ccm.2."),
        (r"^blocks\.", "feats."),
        (r"^shallow\.", "to_feat."),
        (r"^tail\.", "to_img.0."),
    ),
    "smfanet": (
        (r"\.aggregation\.maximum_scale$", ".smfa.alpha"),
        (r"\.aggregation\.variance_scale$", ".smfa.belt"),
        (r"\.aggregation\.expand\.", ".smfa.linear_0."),
        (r"\.aggregation\.modulate\.", ".smfa.linear_1."),
        (r"\.aggregation\.project\.", ".smfa.linear_2."),
        (r"\.aggregation\.depthwise\.", ".smfa.dw_conv."),
        (r"\.aggregation\.local\.3\.", ".smfa.lde.conv_1."),
        (r"\.aggregation\.local\.", ".smfa.lde.conv_0."),
        (r"\.feed_forward\.expand\.", ".pcfn.conv_0."),
        (r"\.feed_forward\.partial\.", ".pcfn.conv_1."),
        (r"\.feed_forward\.reduce\.", ".pcfn.conv_2."),
        (r"^blocks\.", "feats."),
        (r"^shallow\.", "to_feat."),
        (r"^tail\.", "to_img.0."),
    ),
}


def authors_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights, on the CPU, by the names of its authors' files.

    Raises:
        UserError: the authors' names are not known, or their files arrange the numbers otherwise.
    """
    network = type(model).__module__.rpartition(".")[2]
    if network not in AUTHORS_NAMES:
        raise UserError(
            f"the weights of {network} cannot be written as its authors have them; they can be of: "
            f"{', '.join(AUTHORS_NAMES)}"
        )
    state = model.state_dict()
    theirs = {name: translate(name, AUTHORS_NAMES[network]) for name in state}
    if released_names(theirs.values(), model) != {name: ours for ours, name in theirs.items()}:
        raise ValueError(f"the names of {network} do not lead back: {theirs}")
    return {theirs[name]: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def save_authors_weights(path: Path, model: nn.Module) -> None:
    """Write a network's weights by its authors' names: *.pth below the key `params`, or *.safetensors.

    Raises:
        UserError: as `authors_state_dict`.
    """
    state = authors_state_dict(model)
    with atomic_path(path) as temporary:
        if path.suffix == ".safetensors":
            temporary.write_bytes(save(state))
        else:
            torch.save({"params": state}, temporary)
