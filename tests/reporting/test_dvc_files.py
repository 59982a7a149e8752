from alkdnet.reporting.dvc_files import curves_frame
from alkdnet.reporting.study import Study


def test_curves_have_all_trained_rows(study: Study) -> None:
    frame = curves_frame(study)
    assert list(frame) == ["run", "iteration", "loss", "learning_rate", "psnr"]
    assert set(frame["run"]) == set(study.params.runs)
    assert frame["psnr"].notna().sum() == 6 * 6
