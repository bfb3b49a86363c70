# `make run` starts the server; `make test` is everything that a change must pass.

.PHONY: run test setup lint fuzz loom asan instructions suite

run:
	cargo run --release --bin grandstand

test:
	.ci/test

setup lint fuzz loom asan instructions suite:
	.ci/$@
