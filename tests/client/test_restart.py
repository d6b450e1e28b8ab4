"""A real server restarts while the client sends a folder."""

import contextlib
import json
import re
import signal
import threading

import pytest
from cigpose_client.__main__ import main

from tests.pictures import encode, picture_with_persons
from tests.reliability.launcher import launched

pytestmark = [pytest.mark.server, pytest.mark.slow]
PICTURES = 200


def test_every_picture_is_answered_and_the_retries_are_counted(tritonserver, repository, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        people = [(6 + 9 * i, 4) for i in range(number % 4)]
        (folder / f"{number:03}.png").write_bytes(encode(picture_with_persons(people, seed=number), ".png"))
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(launched(repository, tmp_path))

        def restart():
            first.process.send_signal(signal.SIGTERM)
            first.process.wait()
            servers.enter_context(launched(repository, tmp_path, port=first.port))

        answers = tmp_path / "people.jsonl"
        restarter = threading.Thread(target=lambda: (wait_for_lines(tmp_path, 20), restart()))
        restarter.start()
        status = main(["folder", str(folder), "--url", first.grpc_url, "--json", str(answers), "--timeout", "120"])
        restarter.join()
    messages = capsys.readouterr().err
    entries = [json.loads(line) for line in answers.read_text().splitlines()]
    assert status == 0, messages
    assert [(entry["picture"], len(entry["people"])) for entry in entries] == [
        (f"{number:03}.png", number % 4) for number in range(PICTURES)
    ]
    assert int(re.search(r"(\d+) requests sent again", messages)[1]) > 0


def wait_for_lines(folder, count):
    """Wait until the temporary file of `people.jsonl` has that number of lines."""
    while sum(path.read_bytes().count(b"\n") for path in folder.glob(".people.*.part.jsonl")) < count:
        threading.Event().wait(0.01)
