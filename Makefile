# What the README says, as commands. `make help` lists them.

.PHONY: help demo play test check bench clean

help: ## Lists the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

demo: build-demo ## Shows the main job on simulated instruments, in under a minute
	target/debug/tidegate-sandbox demo --tidegate target/debug/tidegate

play: build-demo ## The same, and keeps running to be played with, until Ctrl-C
	target/debug/tidegate-sandbox demo --tidegate target/debug/tidegate --keep

.PHONY: build-demo
build-demo:
	cargo build --locked --package tidegate --package tidegate-sandbox --features tidegate-sandbox/demo

test: check ## Installs what the tests need, then checks and tests everything
	tests/prepare.sh
	cargo test --locked --workspace --features tidegate-sandbox/demo
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --document-private-items

check: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --features tidegate-sandbox/demo -- --deny warnings

bench: ## Measures the outbox
	cargo bench --locked --bench outbox
