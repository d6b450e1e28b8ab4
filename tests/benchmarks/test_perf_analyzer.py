import base64

from benchmarks.perf_analyzer import command, input_data, read_report


def test_strings_go_out_as_the_wire_wants_them():
    (entry,) = input_data([b"picture"])["data"]
    assert base64.b64decode(entry["image"]["b64"]) == b"\x07\0\0\0picture"
    assert entry["image"]["shape"] == [1]


def test_the_command_names_model_server_and_files(tmp_path):
    line = " ".join(command("pose", "localhost:8001", tmp_path / "in.json", tmp_path / "out.csv", 16, 200))
    for part in ("-m pose", "-u localhost:8001", "-i grpc", "--concurrency-range 16", "--request-count 200"):
        assert part in line


def test_the_report_is_read_in_milliseconds(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text(
        "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p95 latency,p99 latency\n"
        "4,14.9577,14,164045,557915,635175,788300\n"
    )
    assert read_report(path) == {"pictures_per_s": 14.9577, "p50_ms": 164.045, "p95_ms": 635.175, "p99_ms": 788.3}
