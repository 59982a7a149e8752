import json
import re
from importlib.resources import files

import pytest

from alkdnet.errors import UserError
from alkdnet.sources.catalogue import SOURCES, source


def test_the_sets_of_the_paper_and_the_demo_are_there_with_their_uses() -> None:
    by_use = {
        use: [entry.name for entry in SOURCES.values() if use in entry.uses]
        for use in ("train", "test", "weights")
    }
    assert by_use == {
        "train": ["div2k", "flickr2k", "bsds500", "embedded_train", "folder"],
        "test": ["set5", "set14", "bsd100", "urban100", "manga109", "embedded_test", "folder"],
        "weights": [
            "file",
            *(
                f"{name}_x{scale}"
                for name in ("alkdnet", "bsrn", "imdn", "srcnn", "fsrcnn")
                for scale in (2, 3, 4)
            ),
            "vdsr",
            "drrn",
            *(f"idn_x{scale}" for scale in (2, 3, 4)),
            "erfdn_x4",
            "fmen_s_x4",
            "safmn_x2",
            *(
                f"{name}_x{scale}"
                for name in ("cfsr", "lkdn", "smfanet", "lkfmixer", "lkmn")
                for scale in (2, 3, 4)
            ),
        ],
    }


@pytest.mark.parametrize("name", SOURCES)
def test_a_descriptor_is_complete(name: str) -> None:
    entry = SOURCES[name]
    assert entry.name == name
    assert entry.licence
    assert entry.citation
    assert (entry.provenance is not None) == (entry.uses == ("weights",) and name != "file")
    assert (entry.network is not None) == (entry.provenance is not None)
    if entry.kind in ("files", "embedded"):
        assert len(entry.files) == entry.images
    else:
        assert bool(entry.files) == (entry.kind == "archives")
        assert bool(entry.obtain) == (entry.kind != "archives")
    names = [file.name.casefold() for file in entry.files]
    assert len(set(names)) == len(names)
    for file in entry.files:
        assert bool(file.members) == (entry.kind == "archives")
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        for url in file.urls:
            assert entry.kind == "embedded" or url.startswith("https://")
            # A branch may move; a commit cannot.
            if "githubusercontent" in url:
                assert re.search("/[0-9a-f]{40}/", url)


def test_every_listed_digest_belongs_to_a_file() -> None:
    listed = json.loads(files("alkdnet.sources").joinpath("digests.json").read_text())
    assert set(listed) <= {file.urls[0] for entry in SOURCES.values() for file in entry.files}


def test_what_is_published_without_a_digest_is_known() -> None:
    without = {
        entry.name
        for entry in SOURCES.values()
        if any(file.sha256 is None and file.md5 is None for file in entry.files)
    }
    assert without == {
        "bsds500",
        *(f"{name}_x3" for name in ("idn", "cfsr", "lkdn", "smfanet", "lkfmixer", "lkmn")),
    }


def test_bsds500_leaves_out_what_is_in_the_test_sets() -> None:
    splits = json.loads(files("alkdnet.sources").joinpath("bsds500.json").read_text())
    # The data set has 200 training, 100 validation (BSD100) and 200 test images.
    assert {split: len(set(images)) for split, images in splits.items()} == {"train": 200, "test": 200}
    assert not set(splits["train"]) & set(splits["test"])
    urls = [file.urls[0] for file in SOURCES["bsds500"].files]
    assert len(urls) == 399
    assert not any("/val/" in url or url.endswith("/302003.jpg") for url in urls)


def test_the_embedded_test_photographs_show_nothing_of_the_training_ones() -> None:
    train, test = (
        {file.name for file in SOURCES[name].files} for name in ("embedded_train", "embedded_test")
    )
    assert not train & test
    assert {"motorcycle_left.png", "motorcycle_right.png"} <= train


def test_sizes_are_summed_where_all_are_published() -> None:
    # 3530603713: Content-Length of the archive, as listed with its digest by its mirror.
    assert SOURCES["div2k"].bytes == 3_530_603_713
    assert SOURCES["bsds500"].bytes is None
    assert SOURCES["folder"].bytes is None


def test_an_unknown_name_gets_a_hint() -> None:
    assert source("set5") is SOURCES["set5"]
    with pytest.raises(UserError, match="urban10: no such data set; did you mean urban100"):
        source("urban10")
    with pytest.raises(UserError, match="there are: div2k, "):
        source("xyz")


def test_weights_that_are_not_those_of_the_paper_are_marked() -> None:
    third_party = {entry.name for entry in SOURCES.values() if entry.provenance == "third party"}
    assert third_party == {"fsrcnn_x2", "fsrcnn_x3", "fsrcnn_x4", "drrn"}
    assert all(SOURCES[name].remark for name in third_party | {"erfdn_x4", "fmen_s_x4"})
