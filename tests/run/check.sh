#!/usr/bin/env bash
# `make check`: everything that can be said of the source without running the product.
set -euo pipefail
# shellcheck source=tests/run/steps.sh
. "$(dirname "$0")/steps.sh"

scripts() {
    local script
    while IFS= read -r script; do
        bash -n "$script"
    done < <(find .ci tests pxe-images -not -path '*/target/*' \( -name '*.sh' -o -path .ci/run \) -type f)
}

# The fuzz targets are a workspace of their own, which --all does not reach.
format() {
    cargo fmt --all --check
    cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
}

# The advisories lie on the net. Licences, bans and sources do not, and are always held against deny.toml.
dependencies() {
    tool cargo-deny 0.20.2
    cargo deny --locked check --hide-inclusion-graph licenses bans sources
    if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
        cargo deny --locked check --hide-inclusion-graph advisories
    else
        echo "advisories: NOT CHECKED, the advisory database cannot be reached from here"
    fi
}

tree() {
    tool cargo-nextest 0.9.143
    cargo nextest run -p muster-tests --lib --test floors --test size --test words --test docs --test harness --no-fail-fast \
        --status-level fail
}

step "shell scripts can be read" scripts
step "format" format
step "floors, sizes, words, links, promises" tree
step "licences, bans and sources of dependencies" dependencies
step "clippy, no warnings" cargo clippy --workspace --all-targets --locked -- -D warnings
export RUSTDOCFLAGS="-D warnings"
step "documentation, no broken links" cargo doc --workspace --no-deps --document-private-items --locked --quiet
report
