# make demo    build, generate an hour of telemetry, run three pipelines over it, tell what they found
# make test    all tests, those against Apache Kafka included
# make lint    formatting and clippy
# make bench   the benchmarks, against hand-written references
.PHONY: demo test lint bench

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
TESTED := --locked --workspace --profile demo --config .cargo/checked.toml

demo:
	@scripts/setup.sh build
	$(CARGO) build --locked --profile demo --package thalweg
	@$(TARGET)/demo/thalweg demo --folder demo

test:
	@scripts/setup.sh test
	$(CARGO) test $(TESTED)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --profile demo -- --deny warnings

bench:
	@scripts/setup.sh test
	$(CARGO) build --locked --profile demo --package thalweg-benches
	$(TARGET)/demo/thalweg-bench all
