"""Scores of patients: from our exports at any level, and from any other table."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.score_table import read_scores


def write(tmp_path, text: str):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    return path


def test_several_rows_of_a_patient_need_a_rule(tmp_path):
    path = write(tmp_path, "patient,score\na,0.2\na,0.6\nb,0.1\n")
    with pytest.raises(DataError, match="'a' has 2 rows; give --patient-rule max or mean"):
        read_scores(path)
    assert read_scores(path, rule="max").scores.to_dict() == {"a": 0.6, "b": 0.1}
    assert read_scores(path, rule="mean").scores.to_dict() == pytest.approx({"a": 0.4, "b": 0.1})
    with pytest.raises(DataError, match="pool needs"):
        read_scores(path, rule="pool")


def test_our_exports_are_pooled_over_tiles_at_any_level(tmp_path):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=12)
    mean = np.mean(logits**3)
    truth = 1 / (1 + np.exp(-np.sign(mean) * abs(mean) ** (1 / 3)))
    tiles = pd.DataFrame({"patient": "a", "tile_risk": 1 / (1 + np.exp(-logits)),
                          "tile_logit": logits})  # fmt: skip
    tiles.to_csv(tmp_path / "tiles.csv", index=False)
    parts = []
    for part in (logits[:4], logits[4:]):
        one = np.mean(part**3)
        slide = np.sign(one) * abs(one) ** (1 / 3)
        parts.append(("a", 1 / (1 + np.exp(-slide)), slide, len(part)))
    images = pd.DataFrame(parts, columns=["patient", "risk", "risk_logit", "tiles"])
    images.to_csv(tmp_path / "images.csv", index=False)
    for name in ("tiles", "images"):
        found = read_scores(tmp_path / f"{name}.csv")
        assert found.scores["a"] == pytest.approx(truth)
        assert found.rule.startswith("pool")


def test_a_tile_in_two_outlines_counts_once_and_p_is_the_tables(tmp_path):
    path = write(
        tmp_path,
        "patient,entry_id,tile_id,tile_risk,tile_logit,p\n"
        "a,1,x,0.881,2,1\na,1,x,0.881,2,1\na,1,y,0.269,-1,1\n",
    )
    found = read_scores(path)
    assert found.scores["a"] == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert "p=1" in found.rule


@pytest.mark.parametrize("place", ["tile_id", "x_px,y_px,width_px,height_px"])
def test_a_tile_of_another_patient_counts_whatever_its_image_is_called(tmp_path, place):
    at = "x" if place == "tile_id" else "0,0,9,9"
    rows = "".join(f"{who},s.svs,1,{at},0.881,2\n" for who in ("a", "a", "b"))
    rows += f"b,t.svs,2,{at},0.269,-1\n"
    found = read_scores(
        write(tmp_path, f"patient,image,entry_id,{place},tile_risk,tile_logit\n{rows}"), rule="mean"
    )
    assert found.scores["a"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found.scores["b"] == pytest.approx((1 / (1 + np.exp(-2)) + 1 / (1 + np.e)) / 2)


def test_a_patient_export_says_its_rule_and_what_is_stale(tmp_path):
    path = write(
        tmp_path, "patient,risk,risk_logit,tiles,rule,stale\na,0.2,-1,9,max,True\nb,0.6,1,9,max,\n"
    )
    found = read_scores(path)
    assert (found.rule, found.stale) == ("max", 1)


def test_models_with_different_thresholds_do_not_mix(tmp_path):
    path = write(tmp_path, "patient,risk,threshold\na,0.2,0.5\nb,0.3,0.4\n")
    with pytest.raises(DataError, match="different threshold cannot be mixed"):
        read_scores(path)


def test_the_table_says_threshold_model_and_who_has_no_score(tmp_path):
    path = write(
        tmp_path,
        "patient,risk,threshold,model,weights_sha256\na,0.2,0.5,m,abc\nb,,0.5,m,abc\n",
    )
    found = read_scores(path)
    assert found.threshold == 0.5
    assert found.models == ("m abc",)
    assert found.excluded.to_dict("records") == [{"patient": "b", "reason": "no score"}]


def test_a_table_in_which_nobody_has_a_score_is_refused(tmp_path):
    path = write(tmp_path, "patient,risk\na,\na,\nb,\n")
    with pytest.raises(DataError, match=r"none of 2 patients has a score; score their slides"):
        read_scores(path)


def test_a_score_column_is_found_or_asked_for(tmp_path):
    path = write(tmp_path, "patient,hazard\na,1\n")
    with pytest.raises(DataError, match="no column is known as the score"):
        read_scores(path)
    assert read_scores(path, column="hazard").scores.to_dict() == {"a": 1.0}
    with pytest.raises(DataError, match="no column 'nope' for the score"):
        read_scores(path, column="nope")
