"""Settings that cannot work are told at once."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conductor_grpc import ConfigurationError, MetricsSettings


@pytest.mark.feature("conductor-python: metrics settings")
def test_the_settings_of_the_rest_sdk() -> None:
    settings = MetricsSettings(directory=".", file_name="metrics.log", update_interval=0.1)
    assert settings.file == Path.cwd() / "metrics.log"
    assert settings.http_port is None
    assert settings.http_host == "127.0.0.1"


def test_the_file_is_in_the_home_folder_unless_there_is_an_endpoint() -> None:
    assert MetricsSettings().file == Path.home() / "metrics.log"
    assert MetricsSettings(http_port=9000).file is None
    assert MetricsSettings(directory="/tmp/x", http_port=9000).file == Path("/tmp/x/metrics.log")


def test_where_there_is_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> None:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigurationError, match="directory None: there is no home folder"):
        MetricsSettings()
    assert MetricsSettings(http_port=9000).file is None


def test_they_cross_process_boundaries() -> None:
    settings = MetricsSettings(directory="/tmp/x", http_port=9000)
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"directory": ""}, "directory ''"),
        ({"directory": 7}, "directory 7"),
        ({"file_name": ""}, "file_name ''"),
        ({"file_name": "a/b"}, "file_name 'a/b'.*without a folder"),
        ({"file_name": ".."}, "file_name"),
        ({"update_interval": 0}, "update_interval 0: expected seconds, a finite number of at least 0.01"),
        ({"update_interval": float("nan")}, "update_interval nan"),
        ({"update_interval": "1"}, "update_interval '1'"),
        ({"http_port": 0}, "http_port 0: expected a whole number from 1 to 65535"),
        ({"http_port": 65536}, "http_port 65536"),
        ({"http_port": True}, "http_port True"),
        ({"http_host": ""}, "http_host ''"),
        ({"poll_overdue_after": 0}, "poll_overdue_after 0: .*> 0"),
        ({"outbox_stuck_after": -1}, "outbox_stuck_after -1"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MetricsSettings(**settings)


def test_without_prometheus_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'conductor-grpc-client\[metrics\]'"):
        MetricsSettings()


def test_without_metrics_prometheus_client_is_not_loaded() -> None:
    code = (
        "import sys, conductor_grpc as c; "
        "c.TaskPoller([c.worker_task('t')(lambda: None)], c.Configuration('', target='localhost:1')); "
        "print('prometheus_client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
