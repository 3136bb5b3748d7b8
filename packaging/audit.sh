#!/bin/sh
# Judges the dependencies by deny.toml: licences, doubles, sources, and known weaknesses where their database can be reached.
set -eu
cd "$(dirname "$0")/.."

command -v cargo-deny >/dev/null || cargo install --locked --version 0.20.2 cargo-deny
cargo deny --log-level error check licenses bans sources
cargo deny --log-level error fetch db 2>/dev/null || {
    echo "audit: known weaknesses were NOT looked for: RustSec's database cannot be fetched" >&2
    exit 0
}
cargo deny --log-level error check --disable-fetch advisories
