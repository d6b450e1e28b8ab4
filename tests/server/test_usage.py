"""Exit statuses and error messages of commands."""

import sys

import pytest
from cigpose_client.outputs import OutputRefused

from server.usage import CommandLine, UsageError, command, need, output_path


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("no"), 2),
        (OutputRefused("no"), 2),
        (ValueError("no"), 1),
        (OSError("no"), 1),
        (RuntimeError("no"), 1),
    ],
)
def test_errors_become_one_line_and_an_exit_status(capsys, error, status):
    @command
    def main():
        raise error

    assert main() == status
    assert capsys.readouterr().err == "error: no\n"


def test_ctrl_c_is_silent(capsys):
    @command
    def main():
        raise KeyboardInterrupt

    assert main() == 130
    assert capsys.readouterr().err == ""


def test_a_bug_keeps_its_traceback():
    @command
    def main():
        raise KeyError("fault")

    with pytest.raises(KeyError):
        main()


def test_a_device_is_a_valid_output(tmp_path):
    parser = CommandLine()
    parser.add_argument("--output", type=output_path)
    assert str(parser.parse_args(["--output", "/dev/null"]).output) == "/dev/null"


def test_missing_modules_are_named_with_their_target(monkeypatch):
    need("install-test", "json")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match="not installed: pycocotools; run `make install-test`"):
        need("install-test", "json", "pycocotools")
