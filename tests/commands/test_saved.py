"""config.yaml: written without passwords, read only as it was written."""

from pathlib import Path

import pytest
import yaml

from autoopt.commands.report import report
from autoopt.commands.saved import CONFIG, read_saved, saved_text
from autoopt.commands.search import _refuse_early
from autoopt.config import load_settings
from autoopt.core.errors import ConfigError
from autoopt.search.loop import run_search
from autoopt.search.study import CONFIGURATION
from tests.damage import ways
from tests.search.table import begin, make_search

RAW = {"tracking": {"uri": "http://me:hunter2@host:5000"}, "exam": {"finalists": 3}, "task": {"name": "digits"}}


def test_it_is_read_as_it_was_written_without_passwords(tmp_path: Path) -> None:
    assert read_saved(tmp_path) is None
    (tmp_path / CONFIG).write_text(saved_text(RAW))
    assert read_saved(tmp_path) == {**RAW, "tracking": {"uri": "http://me:***@host:5000"}}
    assert yaml.safe_load((tmp_path / CONFIG).read_text()) == read_saved(tmp_path), "and it is YAML for anybody else"
    assert RAW["tracking"] == {"uri": "http://me:hunter2@host:5000"}


def test_any_damage_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = saved_text(RAW).encode()
    broken = [whole[:end] for end in range(len(whole))] + [b"\x80\0\xff", b"task: [", b"{}", *ways(whole)]
    for content in broken:
        caplog.clear()
        (tmp_path / CONFIG).write_bytes(content)
        assert read_saved(tmp_path) is None, content
        assert f"{tmp_path / CONFIG} is not as it was written" in caplog.text


@pytest.mark.parametrize("content", [None, b"", b"\x80\0\xff", b"kpis: {", b"kpis: null\n"])
def test_a_study_is_reported_and_resumed_without_it(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(["task=digits", f"outputs={tmp_path}", "study=s"])
    kpis = {"latency_p95_ms": {"objective": True}, "accuracy": {"objective": True, "max_drop": 0.5}}
    identity = {**{key: settings.raw[key] for key in ("space", "seed")}, "kpis": kpis}
    study = begin(tmp_path / "s", name="s", fingerprint=identity)
    study.set_user_attr(CONFIGURATION, {**settings.raw, "kpis": kpis})
    run_search(make_search(study))
    (tmp_path / "s" / CONFIG).write_bytes(saved_text({**settings.raw, "kpis": kpis}).encode())
    assert report(settings) == 0
    whole = capsys.readouterr().out
    if content is not None:
        (tmp_path / "s" / CONFIG).write_bytes(content)
        _refuse_early(settings)
    else:
        with pytest.raises(ConfigError, match="study 's' was begun with kpis"):
            _refuse_early(settings)
    assert report(settings) == 0
    assert capsys.readouterr().out == whole
