from pathlib import Path

import pytest

from server.arguments import parse
from server.command import command
from server.installation import Installation


def test_additional_flags_come_last(tmp_path):
    options, _, _ = parse(["--repository", str(tmp_path), "--", "--log-verbose=1", "--trace-config=rate=1"])
    arguments = command(Installation(Path("tritonserver")), options, None, "region", "key")
    assert arguments[-2:] == ["--log-verbose=1", "--trace-config=rate=1"]


def test_a_tritonserver_flag_before_the_dashes_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse(["--repository", str(tmp_path), "--log-verbose=1"])
    assert "--log-verbose=1" in capsys.readouterr().err
