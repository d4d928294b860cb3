# Everything here can be run by hand as well; see README.md.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
export CGO_ENABLED = 0

.PHONY: build test ci docs fuzz bench man

build:
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o sonde .

test:
	go test ./...

ci:
	.ci/run

# The pages that are made from the source.
docs:
	go run . kinds --format markdown > docs/kinds.md

man:
	go run ./internal/manpages dist/man

bench:
	go test -run '^$$' -bench . -benchmem ./...
	go run ./bench/oneshot
	go run ./bench/engine -o bench/RESULTS.md
