"""Measured figures in the documentation are those of the recorded results."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.capacity import server_of

CHECKOUT = Path(__file__).parents[2]
RESULTS = json.loads((CHECKOUT / "tests" / "pipeline" / "results" / "photos.json").read_text())


def recorded(path):
    """Return the content of a result file."""
    return json.loads((CHECKOUT / path).read_text(encoding="utf-8"))


def chooser(rows):
    """Return the row of docs/choose.md that names a network."""
    page = (CHECKOUT / "docs" / "choose.md").read_text(encoding="utf-8")
    return next(line for line in page.splitlines() if line.startswith("| ") and rows in line)


@pytest.mark.parametrize(("network", "kind"), [("CIGPose-m", "top-down"), ("LOGO-CAP", "bottom-up")])
def test_costs_in_the_table_of_networks(network, kind):
    by_people = {row["people"]: round(row[kind]) for row in recorded("benchmarks/results/kinds.json")["rows"]}
    assert "| {}, {} and {} ms |".format(*(by_people[people] for people in (1, 8, 30))) in chooser(network)


def test_accuracies_and_shares_in_the_table_of_networks():
    photos, demo = RESULTS["movenet-thunder, nanodet"], recorded("weights/accuracy.json")["cpu"]
    assert f"OKS {photos['detected_boxes_oks']:.3f}, {photos['people_found']} of 14" in chooser("MoveNet")
    assert f"AP {demo['average_precision']['whole']:.3f}" in chooser("make demo")
    share = recorded("benchmarks/results/stage2.json")["stage2_share_of_stage1"]
    assert f"{1 + share:.2f} times its stage 1" in chooser("Graph-PCNN")
    share = recorded("benchmarks/results/lifter.json")["added_share"]
    assert f"{1 + share:.2f} times CIGPose-m alone" in chooser("PoseFormer")


def test_the_pace_of_offline_work():
    page = (CHECKOUT / "docs" / "offline.md").read_text(encoding="utf-8")
    server = server_of(recorded("benchmarks/results/stages.json"), people=3.0)
    day = round(86400 * server.pictures_per_s)
    assert f"{day:,} pictures a day" in page
    assert f"100e6 / 7 / {day:,} = {math.ceil(100e6 / 7 / day)} such replicas" in page


def test_the_cost_of_a_person_in_both_precisions():
    floors = recorded("benchmarks/results/compare.json")["floors"]
    single, half = (round(floors[name]["pose_ms_per_person"]) for name in ("ONNX Runtime", "BF16"))
    page = (CHECKOUT / "docs" / "choose.md").read_text(encoding="utf-8")
    assert f"takes {half} ms a person for CIGPose-m where `cpu` takes {single}" in page


@pytest.mark.parametrize("networks", ["movenet-thunder, nanodet", "pp-tinypose, yolox_nano"])
def test_accuracy_on_photos(networks):
    row = RESULTS[networks]
    given, found, detected = row["given_boxes_oks"], row["people_found"], row["detected_boxes_oks"]
    page = (CHECKOUT / "docs" / "networks.md").read_text(encoding="utf-8")
    assert f"| {given:.3f} | {found} of 14 | {detected:.3f} |" in page


def test_the_ids_of_streams():
    sets = recorded("weights/film_ids.json")["sets"]
    page = (CHECKOUT / "docs" / "decisions" / "0050-streams.md").read_text(encoding="utf-8")
    for name, rows in sets.items():
        own = (rows.pop(row) for row in ("keypoints' own", "both's own"))
        error_free, cells = [f"{row['switches']}, {row['switches_by_keypoints']}" for row in own], []
        for measure in ("hota", "idf1", "mota", "switches", "switches_by_keypoints"):
            values = [
                f"{row[measure]:.3f}" if "switches" not in measure else str(row[measure]) for row in rows.values()
            ]
            cells.append("{}; {} ({})".format(*values))
        assert f"| {name} | {' | '.join(cells + error_free)} |" in page
    readme = (CHECKOUT / "client" / "README.md").read_text(encoding="utf-8")
    for name in ("networks, leaving", "networks, crossing"):
        assert f"{sets[name]['stream']['idf1']:.3f} (" in readme and f"{sets[name]['ByteTrack']['idf1']:.3f})" in readme


def test_streams_over_photos():
    page = (CHECKOUT / "docs" / "decisions" / "0050-streams.md").read_text(encoding="utf-8")
    names = {"every": "every frame", "tenth": "every 10th", "smooth": "smoothed"}
    for networks, ways in recorded("tests/pipeline/results/photo_films.json").items():
        for way, row in ways.items():
            cells = (
                f"{row['found']} of {row['people']} | {row['oks']:.4f} | {row['lag_frames']:.2f} | {row['switches']}"
            )
            assert f"| {networks}, {names[way]} | {cells} |" in page


def test_networks_in_eight_bits():
    page = (CHECKOUT / "docs" / "networks.md").read_text(encoding="utf-8")
    for name, row in recorded("weights/int8/quantize.json").items():
        loss = f"{row['float32']:.4f} | {row['in_eight_bits']:.4f} | {row['loss']:.4f} ± {row['standard_error']:.4f}"
        layers = f"{row['eight_bits']} of {row['layers']}" if row["eight_bits"] else "refused"
        (line,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` | {layers} |"))
        assert f"| {row['measure']} on {row['measured_on']} pictures | {loss} |" in line
        assert row["loss"] + row["standard_error"] <= row["may_lose"] or not row["eight_bits"]
    (photos,) = recorded("tests/pipeline/results/photos_in_eight_bits.json").values()
    loss = photos["float32"] - photos["eight_bits"]
    assert f"loses {loss:.4f} of mean OKS ({photos['eight_bits']:.4f} instead of {photos['float32']:.4f}" in page


def test_streams_beside_rtmlib():
    result = recorded("benchmarks/results/streams.json")
    page = (CHECKOUT / "docs" / "decisions" / "0050-streams.md").read_text(encoding="utf-8")
    beside, ways = result["beside_rtmlib"], result["speed"]["ways"]
    for name, row in beside["ways"].items():
        cells = [f"{row[key]:.3f}" for key in ("oks", "acceleration", "hota", "idf1")]
        assert f"| {name} | {row['found']} | {' | '.join(cells)} | {row['switches']} |" in page
    assert f"rtmlib {beside['rtmlib']}" in page
    for name, way in (
        ("stream, one film", "stream, {}, 1 at once"),
        ("streams, 4 films at once", "stream, {}, 4 at once"),
        ("rtmlib, ONNX Runtime", "rtmlib, {}, onnxruntime"),
        ("rtmlib, OpenVINO", "rtmlib, {}, openvino"),
    ):
        rates = [_down(ways[way.format(label)]["frames_per_s"], 1) for label in ("every frame", "every 10th")]
        assert f"| {name} | {' | '.join(rates)} |" in page
    assert f"gives {_down(result['speed']['gain_of_every_10th'], 2)} times the frames per second of one film" in page
    every, tenth = (_down(ratio, 2) for ratio in result["speed"]["films_at_once"].values())
    assert f"have {every} times the throughput of one, and {tenth} times with detection in every 10th frame" in page


def _down(figure, digits):
    """Return a figure of speed, cut off: it is never rounded up."""
    return f"{math.floor(figure * 10**digits) / 10**digits:.{digits}f}"


def test_the_page_of_performance():
    page = (CHECKOUT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name, row in recorded("benchmarks/results/compare.json")["contenders"].items():
        shown = name if name.startswith("usual") else "profile `{}`".format(name.partition(",")[0])
        speed = "{pictures_per_s:.2f} | {p50_ms:.1f} | {p99_ms:.1f} | {share_of_floor:.3f}".format(**row)
        assert f"| {shown} | {row['callers']} | {speed} |" in page
    pss_mb = recorded("benchmarks/results/memory.json")["pss_mb"]
    assert f"takes {pss_mb['this checkout']} MB (profile `cpu`), " in page and f"its {pss_mb['ed4ec94']} MB at" in page
    serving = recorded("benchmarks/results/serving.json")
    loads = serving["servers"]["this checkout"]
    assert f"costs {loads['16 callers']['cpu_ms']:.1f} ms of processor time with 16 callers" in page
    assert "that is {:.2f}, {:.2f} and {:.2f} of the cost".format(*serving["share_of_cpu"].values()) in page
    gateway, stage2, lifter, capacity = (
        recorded(f"benchmarks/results/{name}.json") for name in ("gateway", "stage2", "lifter", "capacity")
    )
    assert f"16 callers get {gateway['ratio']:.3f} of gRPC's throughput" in page
    assert f"alone carries {gateway['alone_pictures_per_s_and_core']:.0f} pictures/s" in page
    assert f"Graph-PCNN adds {stage2['stage2_share_of_stage1']:.0%}".replace("%", " %") in page
    assert f"3-D adds {lifter['added_share']:.2f} times" in page
    *lighter, heaviest = (point["p95_error"] for point in capacity["points"])
    assert (
        f"within {100 * max(lighter):.0f} % of the measured one up to 60 % load,\nand {100 * heaviest:.0f} % above"
        in page
    )


def test_the_page_of_performance_as_the_work_grows():
    page = (CHECKOUT / "docs" / "performance.md").read_text(encoding="utf-8")
    axes = recorded("benchmarks/results/growth.json")["axes"]
    one, most = (next(row for row in axes["people"] if row["people"] == count) for count in (1, 32))
    assert f"A person more costs {(most['cpu_ms'] - one['cpu_ms']) / 31:.0f} ms of processor time" in page
    rates = {row["callers"]: row["pictures_per_s"] for row in axes["callers"]}
    queued = [rate for callers, rate in rates.items() if 4 <= callers <= 64]
    assert f"the same within {100 * (1 - min(queued) / max(queued)):.0f} %" in page
    assert f"takes {100 * (1 - rates[256] / max(rates.values())):.0f} % of it with 256" in page
    small, *_, large = axes["megapixels"]
    assert f"takes {large['cpu_ms']:.0f} ms, one of 0.3 {small['cpu_ms']:.0f}" in page
    first, *_, last = axes["networks"]
    assert f"takes {(last['pss_mb'] - first['pss_mb']) / 3:.0f} MB" in page
