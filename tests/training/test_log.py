"""What was logged comes back; what no checkpoint holds is dropped, in the file and in TensorBoard alike."""

import errno
import json
import math
import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.training.records import run, step, supervised, validation

from memagent.errors import InputError, SetupError, StoppedError
from memagent.training.log import RunLog, read_log


def written(folder, records, **options):
    with RunLog(folder, **options) as log:
        for record in records:
            log.add(record)


def drawn(folder, name):
    """What TensorBoard shows: the value at each place."""
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {point.step: pytest.approx(point.value, rel=1e-6) for point in found.Scalars(name)}


def test_records_come_back_as_they_were(tmp_path):
    records = [validation(0), step(0), supervised(1), validation(2)]
    written(tmp_path, records)
    assert read_log(tmp_path) == records
    assert read_log(tmp_path / "elsewhere") == []


def test_lines_are_json_without_what_is_none(tmp_path):
    written(tmp_path, [supervised(0, loss=math.nan, grad_norm=math.inf)])
    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert line["kind"] == "step" and line["loss"] is None and "reward" not in line
    (record,) = read_log(tmp_path)
    assert math.isnan(record.loss) and math.isnan(record.grad_norm) and record.reward is None


def test_a_line_is_on_the_disk_before_the_next(tmp_path):
    with RunLog(tmp_path) as log:
        log.add(step(0))
        assert read_log(tmp_path) == [step(0)]


@pytest.mark.parametrize("steps_done", [0, 1, 10, 12])
def test_a_run_goes_on_from_its_checkpoint(tmp_path, steps_done):
    """Killed after 12 steps with a torn line; the second session learns other things."""
    written(tmp_path, run(12))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    again = [step(number, reward=0.75) for number in range(steps_done, 13)]
    with RunLog(tmp_path, steps_done=steps_done) as log:
        before = list(log.records)
        for record in again:
            log.add(record)
    kept = [one for one in run(12) if (one.step <= steps_done if hasattr(one, "mean") else one.step < steps_done)]
    assert before == kept and log.records == read_log(tmp_path) == kept + again
    first = {number + 1: step(number).reward for number in range(steps_done)}
    second = {number + 1: 0.75 for number in range(steps_done, 13)}
    assert drawn(tmp_path, "step/reward") == {**first, **second}
    assert drawn(tmp_path, "validation/mean") == {one.step: one.mean for one in kept if hasattr(one, "mean")}


@pytest.mark.parametrize("line", ["{}", "no json", '{"kind": "step", "colour": 3}', '{"kind": "walk"}', "[1]"])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    written(tmp_path, [step(0)])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl:2 is no record"):
        read_log(tmp_path)


def test_a_full_disk_stops_the_run_in_one_line(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunLog(tmp_path) as log:
        log.add(step(0))
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            with pytest.raises(StoppedError, match="No space left on device; free some space and go on with --resume"):
                log.add(step(1))
    assert log.records == [step(0)]
    with RunLog(tmp_path, steps_done=1) as log:
        assert log.records == [step(0)]


def test_weights_and_biases_gets_the_same_run_again(tmp_path, monkeypatch):
    runs = []

    class Run:
        def __init__(self, **given):
            self.given, self.logged, self.finished = given, [], False
            runs.append(self)

        def define_metric(self, name, step_metric):
            self.axis = step_metric

        def log(self, values):
            self.logged.append(values)

        def finish(self):
            self.finished = True

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=Run))
    written(tmp_path / "mine", [step(0)])
    assert not runs
    written(tmp_path / "mine", [step(1), validation(2)], steps_done=1, wandb=True, settings={"steps": 2})
    written(tmp_path / "mine", [], steps_done=2, wandb=True)
    assert runs[0].given["id"] == runs[1].given["id"] and runs[0].given["config"] == {"steps": 2}
    assert [point[runs[0].axis] for point in runs[0].logged] == [2, 2] and runs[0].finished
    assert runs[0].logged[0]["step/reward"] == step(1).reward and runs[0].logged[1]["validation/mean"] == 0.3


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SetupError, match=r"wandb.*pip install 'memagent\[wandb\]'"):
        RunLog(tmp_path, wandb=True)
