# `make run` starts the server; `make test` is everything that a change must
# pass; `make deb` builds the Debian package.

.PHONY: run test deb setup lint fuzz loom asan instructions matrix suite

run:
	cargo run --release --bin grandstand

test:
	.ci/test

deb setup lint fuzz loom asan instructions matrix suite:
	.ci/$@
