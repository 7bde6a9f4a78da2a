# The habits, each a line or two. `make` alone lists them.

.PHONY: help run test test-upgrade lint fmt fuzz simulate bench cluster

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

run: ## one gateway with everything in its own process, on 127.0.0.1:8080
	cargo run --release --locked

test: ## all tests; installs the programs they start (or says which are missing)
	scripts/setup.sh
	cargo test --workspace --locked
	scripts/simulate.sh
	scripts/test-clients.sh
	scripts/test-browser.sh
	PYTHON=$(CURDIR)/tests/clients/.venv/bin/python tests/examples/run.sh
	scripts/check-deploy.sh

test-upgrade: ## a gateway of the version before beside one of this version; builds the former once, some minutes
	OLD_GATEWAY=$$(scripts/old-gateway.sh) && export OLD_GATEWAY && \
	cargo test --workspace --locked --test cluster upgrade:: -- --ignored

lint: ## formatting, clippy, who may depend on whom, and import cycles
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	scripts/fuzz.sh check
	scripts/simulate.sh check
	scripts/check-cycles.py crates/hub crates/transport crates/server crates/broker-redis
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check bans licenses sources; \
	else echo "skipped: who may depend on whom; to have it checked: cargo install --locked cargo-deny"; fi

fmt: ## format the code
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	cargo fmt --manifest-path simulation/Cargo.toml

fuzz: ## every parser of outside bytes, FUZZ_SECONDS (30) each; needs cargo-fuzz
	scripts/fuzz.sh

simulate: ## broker and hub over a model of Redis, in virtual time, from seeds: a minute; MUTANTS=1: whether taken-out fixes are found
	scripts/simulate.sh

bench: ## burst, ramp, soak, a storm; memory, latency and throughput beside Nchan, half an hour; BENCH_QUICK=1: seven minutes
	scripts/bench.sh

cluster: ## nginx, three gateways and Redis as local processes; Ctrl-C stops them
	scripts/cluster.sh
