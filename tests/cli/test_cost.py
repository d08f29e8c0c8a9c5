import json

import pytest


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_table_and_a_picture(memagent, tmp_path):
    from matplotlib import image

    shown = memagent("cost", "--tokens", "8k,4m", "--usd-per-hour", "2")
    assert shown.status == 0 and "memagent-cost.png" in shown.err
    dense = [line.split() for line in shown.out.splitlines() if line.startswith("4m")]
    assert dense[0][1] == "dense*!" and dense[1][1:3] == ["2.14e+19", "3.31e+17"]
    assert "gated takes less than dense: flops from" in shown.out
    assert image.imread(tmp_path / "memagent-cost.png").std() > 0.05


def test_json_is_one_object_and_no_picture_unless_asked_for(memagent, tmp_path):
    found = memagent("cost", "--tokens", "8k", "--model", "smollm2-135m", "--price", "0.15,0.60", "--json").json
    assert [row["method"] for row in found["rows"]] == ["dense", "paper", "gated"]
    assert all(row["usd"] > 0 for row in found["rows"]) and list(tmp_path.glob("*.png")) == []
    memagent("cost", "--tokens", "8k", "--json", "-o", "mine.png")
    assert (tmp_path / "mine.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nothing"], "there is no model nothing"),
        (["--tokens", "0"], "at least 1"),
        (["--tokens", "8q"], "no number of tokens"),
        (["--chunk-tokens", "0"], "--chunk-tokens"),
        (["--flops", "-1"], "--flops"),
        (["--device-memory", "0"], "--device-memory"),
        (["--utilisation", "nan"], "--utilisation"),
        (["--usd-per-hour", "nan"], "--usd-per-hour"),
        (["-o", "costs.xyz"], "end it in .png"),
        (["--change-rate", "2"], "--change-rate"),
        (["--price", "x"], "--price"),
        (["--device", "abacus"], "abacus"),
        (["-o", "no/such/folder/x.png"], "no/such/folder"),
    ],
)
def test_bad_input_is_one_line(memagent, options, message):
    result = memagent("cost", *options)
    assert result.status == 2 and message in result.line


def test_another_device(memagent):
    own = ("--flops", "1e12", "--bandwidth", "5e10", "--device-memory", "1.6e10", "--utilisation", "1")
    slow = json.loads(memagent("cost", "--tokens", "8k", "--json", *own).out)
    fast = json.loads(memagent("cost", "--tokens", "8k", "--json").out)
    assert slow["rows"][0]["flops"] == fast["rows"][0]["flops"] and slow["device"]["name"] == "device"
    assert slow["rows"][0]["seconds"] > 50 * fast["rows"][0]["seconds"]
