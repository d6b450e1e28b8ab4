"""How commands end: the exit status, and one sentence."""

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
def test_errors_become_a_sentence_and_a_status(capsys, error, status):
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


def test_a_fault_of_the_command_keeps_its_traceback():
    @command
    def main():
        raise KeyError("fault")

    with pytest.raises(KeyError):
        main()


def test_a_device_is_no_file_to_lose(tmp_path):
    parser = CommandLine()
    parser.add_argument("--output", type=output_path)
    assert str(parser.parse_args(["--output", "/dev/null"]).output) == "/dev/null"


def test_what_is_missing_is_named_with_its_target(monkeypatch):
    need("install-test", "json")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match="not installed: pycocotools; run `make install-test`"):
        need("install-test", "json", "pycocotools")
