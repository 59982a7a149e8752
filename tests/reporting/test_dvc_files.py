import json
from pathlib import Path

from alkdnet.reporting.dvc_files import curves_frame, write_metrics
from alkdnet.reporting.study import Study


def test_metrics_are_nested_by_row_and_set(study: Study, tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.json", study)
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert list(content) == list(study.params.rows)
    assert list(content["imdn_x2"]) == ["parameters", "set5", "urban100"]
    assert content["imdn_x2"]["parameters"] == 331_628
    score = study.rows["imdn_x2"].scores["set5"]
    assert content["imdn_x2"]["set5"] == {"psnr": score.psnr, "ssim": score.ssim}


def test_curves_have_all_trained_rows(study: Study) -> None:
    frame = curves_frame(study)
    assert list(frame) == ["run", "iteration", "loss", "learning_rate", "psnr"]
    assert set(frame["run"]) == set(study.params.runs)
    assert frame["psnr"].notna().sum() == 6 * 6
