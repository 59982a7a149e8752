"""Where every data set and every file of released weights is published: one table, `SOURCES`.

Digests and sizes come from digests.json beside this file, by URL: DIV2K's and Flickr2K's as published, the
test sets' and the weights' computed from the files at the pinned commits, the photographs' from the registry
of scikit-image. A file without a digest there has its SHA-256 recorded at its first download.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Literal

from alkdnet.config.params import Option
from alkdnet.errors import UserError

Kind = Literal["files", "archives", "embedded", "folder", "file", "gated"]
Use = Literal["train", "test", "weights"]
Provenance = Literal["authors", "third party"]

_RAW = "https://raw.githubusercontent.com"
_SELFEXSR = f"{_RAW}/jbhuang0604/SelfExSR/8f6dd8c1d20cb7e8792a7177b4f6fd677633f598/data"
_BSDS = f"{_RAW}/BIDS/BSDS500/a04b7c6c3a9f0ace74bf205c72a43d32e1c72722/BSDS500/data/images"
_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
_DIV2K_MIRROR = "https://huggingface.co/datasets/goodfellowliu/DIV2K/resolve/main"
_EDSR = "https://cv.snu.ac.kr/research/EDSR"


@dataclass(frozen=True)
class PublishedFile:
    """One published file.

    `urls` give the same bytes and are tried in order; for `embedded` sources it is a single path
    inside an installed package. `name` is the file's name on our disk. `bytes`, `sha256` (hexadecimal) and
    `md5` are None where they are not published. `members` says which files of an archive are images,
    as `folder/pattern`; None: the file itself is one.
    """

    urls: tuple[str, ...]
    name: str
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    members: str | None = None


@dataclass(frozen=True)
class Source:
    """One data set, or one file of released weights.

    `kind`: `files` and `archives` are downloaded, `embedded` comes with scikit-image, a `folder`, a `file`
    and a `gated` set are the user's. `images` is the number of files that the complete set has (of weights:
    1, or 2 for a pair), None where only the user knows. `obtain` tells how to get a set that is never
    downloaded.

    Of weights: `network`, its `options` and `scales` are what they belong to, `provenance` says who trained
    them, `remark` is what a report must say of them, empty where they are those of the paper as published.
    """

    name: str
    kind: Kind
    uses: tuple[Use, ...]
    images: int | None
    licence: str
    citation: str
    files: tuple[PublishedFile, ...] = ()
    obtain: str = ""
    network: str | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    scales: tuple[int, ...] = ()
    provenance: Provenance | None = None
    remark: str = ""

    @property
    def bytes(self) -> int | None:
        """Return how much is downloaded (of an embedded set: copied), or None if that is not published."""
        total = 0
        for file in self.files:
            if file.bytes is None:
                return None
            total += file.bytes
        return total if self.files else None


def source(name: str) -> Source:
    """Return the descriptor of that name.

    Raises:
        UserError: there is none; the message names the nearest ones, or all.
    """
    if name in SOURCES:
        return SOURCES[name]
    near = get_close_matches(name, SOURCES)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(SOURCES)}"
    raise UserError(f"{name}: no such data set; {hint}")


def use_problems(name: str, use: Use, *, network: str = "", scale: int = 0) -> list[str]:
    """Return why a source cannot be used so, for weights: by a network at a scale; an empty list: it can."""
    try:
        known = source(name)
    except UserError as error:
        return [str(error)]
    if use not in known.uses:
        return [f"{name} may be used for {', '.join(known.uses)} only"]
    if known.network not in (None, network):
        return [f"{name} are weights of {known.network}, not of {network}"]
    if known.scales and scale not in known.scales:
        return [f"{name} are weights for x{', x'.join(map(str, known.scales))}, not for x{scale}"]
    return []


def _read_json(name: str) -> Any:
    return json.loads(files("alkdnet.sources").joinpath(name).read_text(encoding="utf-8"))


def _published(*urls: str, members: str | None = None) -> PublishedFile:
    return PublishedFile(urls, urls[0].rpartition("/")[2], members=members, **_DIGESTS.get(urls[0], {}))


def _test_set(name: str, folder: str, images: int, citation: str, licence: str) -> Source:
    scale = folder.rpartition("_")[2]
    numbers = range(1, images + 1)
    return Source(
        name,
        "files",
        ("test",),
        images,
        licence,
        citation,
        tuple(_published(f"{_SELFEXSR}/{folder}/img_{i:03d}_SRF_{scale}_HR.png") for i in numbers),
    )


def _embedded(name: str, use: Use, photographs: tuple[str, ...]) -> Source:
    return Source(
        name,
        "embedded",
        (use,),
        len(photographs),
        "public domain, CC0 or without known restrictions; in scikit-image's wheel (BSD-3-Clause)",
        "van der Walt et al. 2014, scikit-image, PeerJ 2:e453; sources per image in skimage.data",
        tuple(_published(f"skimage/data/{photograph}") for photograph in photographs),
    )


def _weights(
    name: str,
    *urls: str,
    network: str,
    options: Mapping[str, Option] | None = None,
    scales: tuple[int, ...] = (2, 3, 4),
    licence: str,
    citation: str,
    provenance: Provenance = "authors",
    remark: str = "",
) -> Source:
    return Source(
        name,
        "files",
        ("weights",),
        len(urls),
        licence,
        citation,
        tuple(_published(url) for url in urls),
        network=network,
        options=options or {},
        scales=scales,
        provenance=provenance,
        remark=remark,
    )


def _weights_per_scale(
    name: str,
    url: str,
    *,
    licence: str,
    citation: str,
    provenance: Provenance = "authors",
    remark: str = "",
) -> list[Source]:
    return [
        _weights(
            f"{name}_x{scale}",
            url.format(scale=scale),
            network=name,
            scales=(scale,),
            licence=licence,
            citation=citation,
            provenance=provenance,
            remark=remark,
        )
        for scale in (2, 3, 4)
    ]


def _sources() -> list[Source]:
    research = "academic research only"
    bsds = "non-commercial research and education"
    return [
        Source(
            "div2k",
            "archives",
            ("train",),
            800,
            research,
            "Agustsson & Timofte 2017, NTIRE 2017 challenge: dataset and study, CVPRW",
            (
                _published(
                    f"{_DIV2K}/DIV2K_train_HR.zip",
                    f"{_DIV2K_MIRROR}/DIV2K_train_HR.zip",
                    members="DIV2K_train_HR/*.png",
                ),
            ),
        ),
        Source(
            "flickr2k",
            "archives",
            ("train",),
            2650,
            research,
            "Lim et al. 2017, Enhanced deep residual networks, CVPRW",
            (_published(f"{_EDSR}/Flickr2K.tar", members="Flickr2K/Flickr2K_HR/*.png"),),
        ),
        Source(
            "bsds500",
            "files",
            ("train",),
            399,
            bsds,
            "Arbelaez et al. 2010, Contour detection and hierarchical image segmentation, PAMI 33",
            tuple(
                _published(f"{_BSDS}/{split}/{image}.jpg")
                # Without `val`, which is BSD100; train/302003 is Set5's "woman".
                for split, images in _read_json("bsds500.json").items()
                for image in images
                if image != "302003"
            ),
        ),
        _test_set(
            "set5",
            "Set5/image_SRF_2",
            5,
            "Bevilacqua et al. 2012, Low-complexity single-image super-resolution, BMVC",
            "none stated; in use for research",
        ),
        _test_set(
            "set14",
            "Set14/image_SRF_2",
            14,
            "Zeyde et al. 2012, On single image scale-up using sparse-representations, LNCS 6920",
            "none stated; in use for research",
        ),
        # The HR files of the other scales are crops of these (Urban100: image_SRF_2 is half as large!).
        _test_set(
            "bsd100",
            "BSD100/image_SRF_3",
            100,
            "Martin et al. 2001, A database of human segmented natural images, ICCV",
            bsds,
        ),
        _test_set(
            "urban100",
            "Urban100/image_SRF_4",
            100,
            "Huang et al. 2015, Single image super-resolution from transformed self-exemplars, CVPR",
            "none stated; photographs from Flickr, in use for research",
        ),
        Source(
            "manga109",
            "gated",
            ("test",),
            109,
            "academic research only, no redistribution",
            "Matsui et al. 2017, Sketch-based manga retrieval using Manga109, MTAP 76",
            obtain="Apply with an institutional e-mail at http://www.manga109.org/en/ or\n"
            "https://huggingface.co/datasets/hal-utokyo/Manga109 and put the 109 images of the\n"
            "super-resolution benchmark into one folder.",
        ),
        # motorcycle_right shows the scene of motorcycle_left: both stay on one side.
        _embedded(
            "embedded_train",
            "train",
            (
                "brick.png",
                "camera.png",
                "coins.png",
                "grass.png",
                "gravel.png",
                "hubble_deep_field.jpg",
                "motorcycle_left.png",
                "motorcycle_right.png",
                "retina.jpg",
            ),
        ),
        _embedded(
            "embedded_test",
            "test",
            ("astronaut.png", "chelsea.png", "coffee.png", "ihc.png", "rocket.jpg"),
        ),
        Source(
            "folder",
            "folder",
            ("train", "test"),
            None,
            "that of your images",
            "that of your images",
            obtain="Any folder of images of your own.",
        ),
        Source(
            "file",
            "file",
            ("weights",),
            None,
            "that of your weights",
            "that of your weights",
            obtain="A file of weights of your own.",
        ),
        *_released_weights(),
    ]


def _released_weights() -> list[Source]:
    none_found = "none found in the repository"
    return [
        *_weights_per_scale(
            "alkdnet",
            f"{_RAW}/Qudaokuan/ALKDNet/ceec1948929fa261a5fa1d3ff8ce503ea7ecd90a/experiments/"
            "pretrained_models/net_g_ALKDN_x{scale}.pth",
            licence="MIT",
            citation="Qu & Ke 2024, the paper that this software reproduces",
        ),
        *_weights_per_scale(
            "bsrn",
            f"{_RAW}/xiaom233/BSRN/2d63d5239c9fa9810b9c1aea93e98d42ece09efc/experiments/"
            "pretrained_models/net_g_BSRN_x{scale}.pth",
            licence="MIT",
            citation="Li et al. 2022, Blueprint separable residual network, CVPRW",
        ),
        *_weights_per_scale(
            "imdn",
            f"{_RAW}/Zheng222/IMDN/8f158e6a5ac9db6e5857d9159fd4a6c4214da574/checkpoints/IMDN_x{{scale}}.pth",
            licence="none stated",
            citation="Hui et al. 2019, Lightweight image super-resolution, ACM MM",
        ),
        *_weights_per_scale(
            "srcnn",
            f"{_RAW}/Piyush3dB/SR-convnet/a95ab414a5b42c4483e034d8b133e893a73b53fb/model/"
            "9-5-5(ImageNet)/x{scale}.mat",
            licence=none_found,
            citation="Dong et al. 2016, Image super-resolution using deep convolutional networks, PAMI 38",
            remark="copy of the authors' SRCNN_v1; 9-5-5, of which the paper's table has the scores and the "
            "cost, but not the number of parameters",
        ),
        *_weights_per_scale(
            "fsrcnn",
            f"{_RAW}/yjn870/FSRCNN-pytorch/ecd36324887023ea95e7224353d6836773207551/weights/"
            "fsrcnn_x{scale}.pth",
            licence=none_found,
            citation="Dong et al. 2016, Accelerating the super-resolution convolutional neural network, ECCV",
            provenance="third party",
            remark="trained on 91 images by a third party; those for x3 are 0.6 dB below the paper on Set5",
        ),
        _weights(
            "vdsr",
            f"{_RAW}/huangzehao/caffe-vdsr/5a839232d179c10736ed94e7142068b168b61cf6/Test/VDSR_Official.mat",
            network="vdsr",
            licence="MIT",
            citation="Kim et al. 2016, Accurate image super-resolution using very deep networks, CVPR",
            remark="the authors' one network for all scales, converted by a third party",
        ),
        _weights(
            "drrn",
            f"{_RAW}/WolframRhodium/Super-Resolution-Zoo/041842f177ab4aa59287f8561ec9b3446bd4826c/DRRN/"
            "DRRN-pytorch@jt827859032/DRRN-B1U25-0000.params",
            network="drrn",
            options={"form": "port"},
            licence=none_found,
            citation="Tai et al. 2017, Image super-resolution via deep recursive residual network, CVPR",
            provenance="third party",
            remark="a port without batch normalisation and biases, one network for all scales",
        ),
        *_weights_per_scale(
            "idn",
            f"{_RAW}/Zheng222/IDN-Caffe/482c601336000f5c00b0e93f83a525f0fc917830/test/caffemodel/"
            "IDN_x{scale}.caffemodel",
            licence=none_found,
            citation="Hui et al. 2018, Fast and accurate single image super-resolution, CVPR",
        ),
        _weights(
            "erfdn_x4",
            f"{_RAW}/njulj/RFDN/7cf4e25b6633e81fd7e26891aeee2baca4f8f927/trained_model/RFDN_AIM.pth",
            network="rfdn",
            options={"attention": "esa", "blocks": 4, "channels": 50},
            scales=(4,),
            licence=none_found,
            citation="Liu et al. 2020, Residual feature distillation network, ECCVW",
            remark="E-RFDN of the AIM 2020 challenge with 433K parameters, not RFDN of the paper's table",
        ),
        _weights(
            "fmen_s_x4",
            f"{_RAW}/NJU-Jet/FMEN/a1def169d0e2c99ecebdb1b08bf567f329c3a566/test_weights.pt",
            network="fmen",
            options={
                "channels": 50,
                "attention_channels": 16,
                "attention_blocks": 1,
                "first_attention_blocks": 2,
            },
            scales=(4,),
            licence=none_found,
            citation="Du et al. 2022, Fast and memory-efficient network, CVPRW",
            remark="FMEN-S with 341K parameters, not FMEN of the paper's table",
        ),
        _weights(
            "safmn_x2",
            *(
                f"{_RAW}/HaoNJUST/SAFMN_Android/763a23161d451cec8a6515e5428553837549af45/app/src/main/assets/"
                f"test.ncnn.{suffix}"
                for suffix in ("param", "bin")
            ),
            network="safmn",
            scales=(2,),
            licence=none_found,
            citation="Sun et al. 2023, Spatially-adaptive feature modulation, ICCV",
            remark="the authors' weights, converted by a third party; convolutions in half precision",
        ),
        *_weights_per_scale(
            "cfsr",
            f"{_RAW}/Aitical/CFSR/ec9b237c5e8616bd2ce1102a866a7bba59203963/model_zoo/CFSR_x{{scale}}.pth",
            licence=none_found,
            citation="Wu et al. 2024, Transforming image super-resolution, IEEE TIP 33",
        ),
        *_weights_per_scale(
            "lkdn",
            f"{_RAW}/stella-von/LKDN/54df78a491142c2503d9738192b767ceced4d1a1/experiments/"
            "pretrained_models/LKDN/LKDN_x{scale}.pth",
            licence="MIT",
            citation="Xie et al. 2023, Large kernel distillation network, CVPRW",
        ),
        *_weights_per_scale(
            "smfanet",
            f"{_RAW}/Zheng-MJ/SMFANet/a05e0bb554bbbb80cd27d8fd2b78d4228c657170/pretrain/"
            "SMFANet_DF2K_100w_x{scale}SR.pth",
            licence="Apache-2.0",
            citation="Zheng et al. 2024, A lightweight self-modulation feature aggregation network, ECCV",
        ),
        *_weights_per_scale(
            "lkfmixer",
            f"{_RAW}/Supereeeee/LKFMixer/b7e5669cf1370532b75278072c78d41ef339e3e8/experiments/"
            "pretrained_models/LKFMixer_B_x{scale}.pth",
            licence="Apache-2.0",
            citation="Tang & Hu 2025, Exploring large kernel feature, arXiv 2508.11391",
        ),
        *_weights_per_scale(
            "lkmn",
            f"{_RAW}/Supereeeee/LKMN/55a84ca8042eed34eec84fe4d1888c4cb18a1942/experiments/"
            "pretrained_models/LKMN_T_x{scale}.pth",
            licence="Apache-2.0",
            citation="Hu et al. 2025, Large kernel modulation network, arXiv 2508.11893",
        ),
    ]


_DIGESTS: dict[str, dict[str, Any]] = _read_json("digests.json")
SOURCES: Mapping[str, Source] = {entry.name: entry for entry in _sources()}
