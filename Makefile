# Everything starts here: `make repro` turns the cycle, `make test` proves it. Both make the environment they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
LABELSTUDIO := .labelstudio
SERVERS := mosquitto python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-rtsp glib-networking openssl
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export NO_ALBUMENTATIONS_UPDATE := 1
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help repro test lint bench ui labelstudio browser servers clean
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(LABELSTUDIO)/ready: requirements-labelstudio.lock
	$(PYTHON) -m venv $(LABELSTUDIO)/env
	$(LABELSTUDIO)/env/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

repro: $(VENV)/ready ## turn the whole cycle, then say where to look
	sightline repair
	dvc repro
	@echo
	@echo "report:    $(CURDIR)/reports/index.html (open it in a browser)"
	@echo "tracking:  make ui (MLflow, http://127.0.0.1:5000)"
	@echo "next:      . $(VENV)/bin/activate; dvc exp run -S model=ssdlite -S train.epochs=1; dvc exp show"

lint: $(VENV)/ready ## style, types, layers, the configuration
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	sightline check

browser: # Debian's, for the tests that look at pages
	@command -v chromium chromium-browser google-chrome > /dev/null || \
		{ [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium > /dev/null; } || \
		echo "no browser: install chromium, else the tests that look at pages are skipped"

servers: # a real MQTT broker and a real RTSP server, Debian's, for the tests that break them
	@{ command -v mosquitto && /usr/bin/python3 -c "import gi; gi.require_version('GstRtspServer', '1.0')"; } > /dev/null 2>&1 || \
		{ [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y --no-install-recommends $(SERVERS) > /dev/null; } || \
		echo "no broker or RTSP server: install $(SERVERS), else the tests that need them are skipped"

test: lint $(LABELSTUDIO)/ready browser servers ## lint and all tests
	python -m pytest -n 2 --dist loadfile

bench: $(VENV)/ready ## speed against named peers, as ratios in one run
	@missed=; for file in benchmarks/*.py; do echo "== $$file"; python $$file || missed="$$missed $$file"; done; \
		[ -z "$$missed" ] || { echo "short of a goal, or broken:$$missed"; exit 1; }

ui: $(VENV)/ready ## MLflow on the local store
	mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

labelstudio: $(VENV)/ready $(LABELSTUDIO)/ready ## Label Studio on http://127.0.0.1:8080 with the project and the champion's boxes
	sightline repair
	dvc repro register
	sightline labels serve

clean: ## remove the environment and everything that stages wrote
	rm -rf $(VENV) $(LABELSTUDIO) .ultralytics .training .mypy_cache .ruff_cache .pytest_cache .import_linter_cache mlflow.db mlartifacts mlruns
	rm -rf data/frames data/annotations data/splits data/training models/train models/export
	rm -rf reports/evaluate reports/robustness reports/explain reports/verify reports/fieldtest reports/select reports/gate.json reports/register.json reports/ledger.json reports/index.html reports/comparison.html .dvc/cache .dvc/tmp
