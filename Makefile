# What the README says, as commands. `make help` lists them.

.PHONY: help demo play test check check-packaging simulate soak bench deb test-deb soak-commands

help: ## Lists the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

demo: build-demo ## Show the main job on simulated instruments, in less than a minute
	target/debug/tidegate-demo --tidegate target/debug/tidegate

play: build-demo ## Run the demo and keep everything running until Ctrl-C
	target/debug/tidegate-demo --tidegate target/debug/tidegate --keep

.PHONY: build-demo
build-demo:
	cargo build --locked --package tidegate --package tidegate-demo

test: check ## Installs what the tests need, then checks and tests everything
	tests/prepare.sh
	packaging/check.sh
	@tests/skips.sh clear
	cargo test --locked --workspace || { tests/skips.sh report; exit 1; }
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --document-private-items
	@tests/skips.sh report

.PHONY: test-fresh
test-fresh: ## Runs both README commands on a minimal Debian, and in a container's root (needs root)
	tests/fresh.sh

.PHONY: quick
quick: check ## Runs format, lints, unit tests and a short simulation: no apt, no broker, under a minute when warm
	SEEDS=10 cargo test --locked --workspace --lib

check: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings

check-packaging: ## The unit and the scripts of the packages
	packaging/check.sh

.PHONY: check-monitoring
check-monitoring: ## The alerts and the dashboard: do they name metrics that exist, and do the alerts fire
	deploy/prometheus/check.sh

soak-commands: ## 10,000 commands through a bad stream while the daemon is killed 100 times (about 15 min)
	SOAK_COMMANDS=10000 SOAK_KILLS=100 cargo test --locked --test it command_soak -- --nocapture

.PHONY: audit sbom
audit: ## Judges the dependencies: licences, doubles, sources, known weaknesses
	packaging/audit.sh

sbom: ## Writes what the programs are made of: target/assets/sbom
	packaging/sbom.sh

ARCH ?= amd64
deb: ## Builds the Debian package: make deb ARCH=amd64 | arm64 | armhf | armv6
	packaging/build.sh $(ARCH)

.PHONY: deb-sandbox reproduce
deb-sandbox: ## Builds the package of the sandbox: make deb-sandbox ARCH=…
	packaging/build.sh $(ARCH) tidegate-sandbox

reproduce: deb ## Builds the package again elsewhere, and compares: make reproduce ARCH=…
	packaging/reproduce.sh target/debian/tidegate_*_$(ARCH).deb

test-deb: deb ## Tries the package in a booted Debian: install, kill, upgrade, purge (needs root)
	cargo build --locked --package tidegate-sandbox
	packaging/test.sh target/debian/tidegate_*_$(ARCH).deb target/debug/tidegate-sandbox

.PHONY: emulate
emulate: deb ## Runs the demo with the package's daemon in an emulated computer: make emulate ARCH=arm64 | armhf
	packaging/emulate.sh $(ARCH)

.PHONY: test-hardware
test-hardware: ## GPIO on a real character device and real USB adapters that change places, in an emulated computer (some minutes)
	tests/hardware/run.sh

.PHONY: soak-sensors
soak-sensors: ## Sensors of all kinds for half an hour, while plugs are pulled at random
	tests/prepare.sh
	SOAK_SECONDS=$${SOAK_SECONDS:-1800} cargo test --locked --test it -- --nocapture soak_sensors::

SEEDS ?= 1000
KILLS ?= 200

simulate: ## Runs SEEDS=1000 simulated worlds against the promises of delivery; SEED=n runs one again
	SEEDS=$(SEEDS) cargo test --locked --release --package tidegate-simulation -- --nocapture

.PHONY: drain
STATES ?= 1000000
drain: ## Sends a backlog of STATES=1000000 over three devices and tells how much of the throttle it used (about 6 min)
	DRAIN_STATES=$(STATES) cargo test --locked --release --test it drain:: -- --nocapture

.PHONY: memory
memory: ## Holds the release build to 24 MB of memory while STATES=1000000 come in, wait and are sent (about 4 min and the build)
	cargo build --locked --release --package tidegate
	DAEMON_PROGRAM=$${CARGO_TARGET_DIR:-target}/release/tidegate MEMORY_STATES=$(STATES) \
		cargo test --locked --test it memory:: -- --nocapture

soak: ## Kills the daemon KILLS=200 times at every step while thousands of readings a second come (about 15 min)
	KILLS=$(KILLS) cargo test --locked --test it -- --nocapture crash_rig:: crash::kills

.PHONY: power-cut
IMAGES ?= 1000
power-cut: ## Opens IMAGES=1000 disk images of power cuts in the outbox
	TIDEGATE_IMAGES=$(IMAGES) cargo test --locked --package tidegate-outbox --lib \
		power_cut_loses_no_promised_state -- --nocapture

bench: ## Measures the outbox
	cargo bench --locked --bench outbox

RUNS ?= 3
PEERS ?= tidegate,script,syslog-ng,node-red
MEASURES ?= load,calm,outage,drain,kill,serial
DOCUMENT ?= docs/performance.md

.PHONY: build-bench
build-bench:
	cargo build --locked --release --package tidegate --package tidegate-bench

.PHONY: bench-peers
bench-peers: build-bench ## Measures tidegate and programs that do the same work, RUNS=3 times (about an hour)
	benches/suite/prepare.sh target/bench-peers
	target/release/tidegate-bench peers --runs $(RUNS) --peers $(PEERS) --measures $(MEASURES) \
		--document $(DOCUMENT)

.PHONY: bench-instructions
SYNC_MS ?= 20
bench-instructions: build-bench ## Counts instructions for a message, and estimates a Pi Zero whose card syncs in SYNC_MS=20 (about 10 min)
	packaging/tools.sh bench
	mkdir -p target/bench-peers
	target/release/tidegate-bench instructions --sync-ms $(SYNC_MS) --document $(DOCUMENT)

.PHONY: bench-scale
BACKLOG ?= 1000000
bench-scale: build-bench ## Plots the cost against sensors, devices and a backlog of up to BACKLOG=1000000 states (some minutes)
	mkdir -p target/bench-peers
	target/release/tidegate-bench scale --backlog $(BACKLOG) \
		--plot docs/performance-scale.svg --document $(DOCUMENT)
