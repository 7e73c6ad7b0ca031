# Short names for what is done often. `just` lists them; `.ci/run` runs the same without just.

default:
    @just --list

# Every test of the workspace.
test *args:
    cargo test --workspace {{ args }}

# Formats everything.
fmt:
    cargo fmt --all

# Lints as errors.
clippy:
    cargo clippy --workspace --all-targets -- -D warnings

# The whole story on one machine, on generated records unless told otherwise.
demo *args:
    cargo run --release -- demo {{ args }}

# Benchmarks; docs/DEVELOPMENT.md says what each measures.
bench *args:
    cargo run --release -p sealdex-benches -- {{ args }}

# Beside other software; benches/peers/README.md says with what, and why it is not in the workspace.
peers *args:
    cargo run --release --manifest-path benches/peers/Cargo.toml -- {{ args }}

# That the servers cannot link code that opens records.
boundary:
    .ci/boundary

# Licences, advisories and sources of dependencies; needs cargo-deny.
deny:
    cargo deny check

# Makes datasets/sample again, after a change of the generator.
sample:
    rm -r datasets/sample
    cargo run --release -p sealdex-dataset --example generate -- datasets/sample

# What must pass before a change goes in.
ci:
    .ci/run
