"""`memagent serve` as a process: how it ends, and what it does not begin with."""

import os
import re
import signal
import subprocess
import sys

import pytest


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_is_no_failure(tmp_path, endpoint, sign):
    options = ["--model", "fake", "--base-url", endpoint.url, "--window", "2k", "--port", "0"]
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "OPENAI_API_KEY": "none"}
    command = [sys.executable, "-m", "memagent", "serve", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert re.search(r"serving fake at http://127\.0\.0\.1:\d+/v1", process.stderr.readline())
        process.send_signal(sign)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("keys", [[""], ["good", " "]])
def test_an_empty_key_lets_nobody_in(memagent, keys):
    given = [part for key in keys for part in ("--api-key", key)]
    done = memagent("serve", "--host", "0.0.0.0", *given)
    assert done.status == 2 and "empty --api-key" in done.line
