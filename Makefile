# make demo    build, generate an hour of telemetry, run the catalogue over it, tell what it found
# make models  the same binary with neural models and ONNX in it
# make cuda    the same for NVIDIA GPUs
# make test    all tests, those against Apache Kafka included
# make lint    formatting and clippy
# make chaos   jobs killed at random instants, 60 times over 2 million events, and what they wrote all the same
# make bench   the benchmarks, against hand-written references
.PHONY: demo models cuda test lint chaos bench

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
TESTED := --locked --workspace --features thalweg/models --profile demo --config .cargo/checked.toml

demo:
	@scripts/setup.sh build
	$(CARGO) build --locked --profile demo --package thalweg
	@$(TARGET)/demo/thalweg demo --folder demo

models:
	@scripts/setup.sh build
	$(CARGO) build --locked --profile demo --package thalweg --features models

cuda:
	@scripts/setup.sh build
	@scripts/cuda.sh $(CARGO) build --locked --profile demo --package thalweg --features cuda

test:
	@scripts/setup.sh test
	$(CARGO) test $(TESTED)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --features thalweg/models --all-targets --profile demo -- --deny warnings

# THALWEG_CHAOS_SEED=… draws the same again.
chaos: export THALWEG_CHAOS_KILLS ?= 60
chaos: export THALWEG_CHAOS_EVENTS ?= 2_000_000
chaos:
	@scripts/setup.sh test
	$(CARGO) test $(TESTED) --package thalweg --test it chaos:: -- --nocapture

bench:
	@scripts/setup.sh test
	$(CARGO) build --locked --profile demo --config .cargo/fast.toml --package thalweg-benches
	$(TARGET)/demo/thalweg-bench all
	$(TARGET)/demo/thalweg-bench checkpoints
	$(TARGET)/demo/thalweg-bench live
