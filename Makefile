# The targets of edgelabel; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
VENV ?= .venv
TOOLS := $(TARGET)/tools
export VENV

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install the Debian packages that building, running and testing need (sudo when not root)
	@scripts/deps build run test

.PHONY: build
build: deps ## Build the release binary, target/release/edgelabel
	cargo build --release

.PHONY: demo
demo: deps ## Try it all on this machine: emulated Encord, stand-in model, real daemon (KEEP=1 leaves it running)
	cargo build --release --bin edgelabel --example demo
	@KEEP=$(KEEP) $(TARGET)/release/examples/demo $(TARGET)/release/edgelabel

.PHONY: test
test: deps $(VENV)/ready ## Run units, the daemon over real sockets, the official SDK as judge, the frame corpus, stills
	@scripts/suites unit sdk corpus stills

.PHONY: test-unit test-sdk test-corpus test-stills
test-unit: deps ## Only the Rust tests
	@scripts/suites unit
test-sdk: deps $(VENV)/ready ## Only the official Python SDK as judge
	cargo build --release --bin edgelabel --example emulator
	@scripts/suites sdk
test-corpus: deps $(VENV)/ready ## Only the frames of the corpus in EDGELABEL_CORPUS (EDGELABEL_CORPUS_FRAMES=0: all of them)
	cargo build --release
	@scripts/suites corpus
test-stills: deps $(VENV)/ready ## Only stills of every kind, with Pillow as judge
	cargo build --release --bin edgelabel
	@scripts/suites stills

.PHONY: fuzz-ci fuzz-short fuzz
fuzz-ci: deps ## Fuzz what reads containers, pictures, requests and configuration for a minute each, the other readers for half of one
	@TIME=60 OTHERS=30 SEED=1 scripts/suites fuzz
fuzz-short: deps ## Fuzz the readers of foreign bytes, a minute each
	@TIME=$(or $(TIME),60) scripts/suites fuzz
fuzz: deps ## Fuzz for longer: TIME=seconds each (3600), TARGETS="mp4 still"
	@TIME=$(or $(TIME),3600) fuzz/run $(TARGETS)

.PHONY: hostile-media
hostile-media: deps ## All of the corpus, cut at 200 places and with 1,000 bytes turned, through real workers (an hour)
	@EDGELABEL_HOSTILE=all scripts/suites hostile_media

.PHONY: model-test
model-test: deps ## A real llama.cpp with a random model as judge (compiles it the first time)
	@scripts/suites model

.PHONY: browser-test
browser-test: deps tests/browser/node_modules/ready ## The label editor's page in a real Chromium calls the real daemon
	cargo build --release --bin edgelabel --example emulator
	@scripts/suites browser

.PHONY: tls-report
tls-report: deps $(VENV)-tls/ready ## Judge the TLS of the real daemon with sslyze: versions, ciphers, chain
	cargo build --release --bin edgelabel --example emulator
	@scripts/suites tls

.PHONY: hostile
hostile: deps ## Only the hostile callers, with their table
	@scripts/suites hostile

.PHONY: kill-test
kill-test: deps ## kill -9 the daemon at 200 random moments of a trigger (KILLS=n, SEED=n): nothing lost, nothing doubled
	@EDGELABEL_KILLS=$(or $(KILLS),200) EDGELABEL_SEED=$(SEED) scripts/suites kill

.PHONY: soak
soak: deps ## 20 minutes of triggers under random faults (SOAK=seconds, SEED=n): all accounted for, memory flat
	@EDGELABEL_SOAK=$(or $(SOAK),1200) EDGELABEL_SEED=$(SEED) scripts/suites soak

.PHONY: kill-short soak-short
kill-short: ## 25 rounds of kill-test
	@$(MAKE) --no-print-directory kill-test KILLS=25
soak-short: ## Two minutes of soak
	@$(MAKE) --no-print-directory soak SOAK=120

.PHONY: faults
faults: deps ## Provoke every fault of every upstream call and write what comes of it into docs/faults.md
	EDGELABEL_REFRESH=1 cargo test --release --test it every_fault_of_every_call -- --nocapture

.PHONY: lint
lint: deps ## Formatting, clippy without warnings, shell scripts
	@scripts/deps lint
	@scripts/suites lint

.PHONY: fmt
fmt: ## Format the code
	cargo fmt

.PHONY: deny
deny: $(TOOLS)/bin/cargo-deny ## Licences, banned crates, sources
	@CARGO_DENY=$(TOOLS)/bin/cargo-deny scripts/suites deny

.PHONY: deb
deb: deps $(TOOLS)/bin/cargo-deb ## Build and judge the Debian package, target/deb/*.deb (PROFILE=release: quicker to build, larger)
	@scripts/deps package
	@scripts/suites deb

.PHONY: vm-test
vm-test: deps $(TOOLS)/bin/cargo-deb $(TOOLS)/bin/promtool ## A real Debian machine under systemd in QEMU, with the package installed (SUITE=trixie: Debian 13; ONLY="case …")
	@scripts/deps package vm
	@scripts/suites vm

.PHONY: vm-short
vm-short: ## The cases of vm-test that every change must pass: install, first click, doctor, drain, socket, watchdog, purge
	@$(MAKE) --no-print-directory vm-test SHORT=1

.PHONY: image
image: deps $(TOOLS)/bin/cargo-deb ## A disk to flash, of Debian packages, booted from UEFI to a saved label (sudo when not root; ARCH=arm64; UPDATES=1: updated and rolled back, too; PACKAGED=1: of the package that deb left)
	@scripts/deps package image $(if $(filter arm64,$(ARCH)),cross image-arm64)
	@ARCH=$(or $(ARCH),amd64) scripts/suites image

.PHONY: image-short
image-short: ## The disk and its first boot, to a saved label
	@$(MAKE) --no-print-directory image SHORT=1 LEVEL=3

.PHONY: cross
cross: deps $(TOOLS)/bin/cargo-deb $(VENV)/ready ## The program and its package for arm64, run by emulation: doctor, frames, a saved label (ARCH=arm64)
	@scripts/deps package cross
	@ARCH=$(or $(ARCH),arm64) scripts/suites cross

.PHONY: monitoring-test
monitoring-test: $(TOOLS)/bin/promtool ## Alert rules and dashboard, judged by Prometheus' own tool
	@scripts/suites monitoring

.PHONY: yocto-lint
yocto-lint: $(VENV)-yocto/ready ## The Yocto layers by OpenEmbedded's style guide, and their kas configurations
	@YOCTO_VENV=$(VENV)-yocto scripts/suites yocto

.PHONY: yocto-parse
yocto-parse: ## Parse the layers and plan the image with bitbake (BITBAKE=folder LAYERS="openembedded-core/meta …", MACHINE=qemux86-64)
	@test -n "$(BITBAKE)" -a -n "$(LAYERS)" || { echo 'yocto-parse needs BITBAKE=folder and LAYERS="folder …"' >&2; exit 2; }
	@scripts/check-yocto parse "$(BITBAKE)" "$(LAYERS)"

.PHONY: bench-trigger
bench-trigger: deps $(VENV)/ready $(VENV)-seed/ready ## Compare a click with a Python service on the SDK; writes docs/benchmarks-trigger.md
	cargo build --release --bin edgelabel --example emulator
	$(VENV)/bin/python bench/trigger.py --edgelabel $(TARGET)/release/edgelabel --emulator $(TARGET)/release/examples/emulator \
	    --seed-python $(abspath $(VENV)-seed/bin/python) > $(TARGET)/benchmarks-trigger.md
	cp $(TARGET)/benchmarks-trigger.md docs/benchmarks-trigger.md
	@cat docs/benchmarks-trigger.md

.PHONY: bench-edge
bench-edge: deps $(VENV)-edge/ready ## Compare the cost of a request at the HTTPS edge with bare hyper, nginx, uvicorn; writes docs/benchmarks-edge.md
	@scripts/deps bench-edge
	cargo build --release --bin edgelabel --example emulator --example bare_https
	$(VENV)-edge/bin/python bench/edge.py --edgelabel $(TARGET)/release/edgelabel --bare $(TARGET)/release/examples/bare_https \
	    --emulator $(TARGET)/release/examples/emulator > $(TARGET)/benchmarks-edge.md
	cp $(TARGET)/benchmarks-edge.md docs/benchmarks-edge.md
	@cat docs/benchmarks-edge.md

.PHONY: bench-frames
bench-frames: deps $(VENV)-bench/ready ## Compare single frames by link with ffmpeg, PyAV and OpenCV (needs ffmpeg); writes docs/benchmarks.md
	@command -v ffmpeg ffprobe > /dev/null || { echo "bench-frames needs ffmpeg: apt-get install ffmpeg" >&2; exit 1; }
	cargo build --release --bin edgelabel --example frames
	mkdir -p $(TARGET)/bench
	test -s $(TARGET)/bench/clip.mp4 || bench/make_clip.sh $(TARGET)/bench/clip.mp4
	$(VENV)-bench/bin/python bench/frames.py --edgelabel $(TARGET)/release/edgelabel --service $(TARGET)/release/examples/frames \
	    --clip $(TARGET)/bench/clip.mp4 --figures $(TARGET)/bench/figures.json > $(TARGET)/bench/benchmarks.md
	cp $(TARGET)/bench/benchmarks.md docs/benchmarks.md
	@cat docs/benchmarks.md

# The environment of the Python that judges; made anew when a requirement changes.
$(VENV)/ready: tests/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

$(VENV)-yocto/ready: yocto/requirements.txt
	python3 -m venv $(VENV)-yocto
	$(VENV)-yocto/bin/pip install --quiet --disable-pip-version-check -r yocto/requirements.txt
	touch $@

$(VENV)-seed/ready: bench/seed/requirements.txt
	python3 -m venv $(VENV)-seed
	$(VENV)-seed/bin/pip install --quiet --disable-pip-version-check -r bench/seed/requirements.txt
	touch $@

$(VENV)-bench/ready: bench/requirements.txt
	python3 -m venv $(VENV)-bench
	$(VENV)-bench/bin/pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	touch $@

$(VENV)-edge/ready: bench/edge/requirements.txt
	python3 -m venv $(VENV)-edge
	$(VENV)-edge/bin/pip install --quiet --disable-pip-version-check -r bench/edge/requirements.txt
	touch $@

$(VENV)-tls/ready: tests/tls/requirements.txt
	python3 -m venv $(VENV)-tls
	$(VENV)-tls/bin/pip install --quiet --disable-pip-version-check -r tests/tls/requirements.txt
	touch $@

# Chromium, and what drives it. Node is Debian's unless there is one with npm already.
tests/browser/node_modules/ready: tests/browser/package-lock.json scripts/packages.txt
	@scripts/deps browser
	@command -v node > /dev/null && command -v npm > /dev/null || scripts/deps node
	cd tests/browser && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error
	touch $@

# Compiled once and kept; takes a few minutes.
$(TOOLS)/bin/cargo-deb:
	cargo install --quiet --locked --root $(TOOLS) --version 3.8.0 cargo-deb
# Out of Debian's package, which would install a running Prometheus with it.
$(TOOLS)/bin/promtool:
	mkdir -p $(TOOLS)/bin $(TOOLS)/prometheus
	cd $(TOOLS)/prometheus && apt-get download -q prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool > promtool
	install -m 755 $(TOOLS)/prometheus/promtool $@ && rm -r $(TOOLS)/prometheus
$(TOOLS)/bin/cargo-deny:
	cargo install --quiet --locked --root $(TOOLS) --version 0.20.2 cargo-deny
