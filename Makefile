# Sekisho: `make run` starts everything, `make test` proves it. `make help` lists the rest.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
GOFUMPT   := $(GO) run mvdan.cc/gofumpt@v0.9.2
LINT      := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BIN       := bin/sekisho
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

.PHONY: run
run: build ## Build and start everything on this machine, with a few demo visitors
	$(BIN) up --demo

.PHONY: build
build: web/built/version ## Build the web parts and the binary
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/sekisho

WEB_SOURCES := $(shell git ls-files --cached --others --exclude-standard web/tracker web/consent web/build.mjs 2>/dev/null)

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@deploy/setup.sh node npm
	cd web && npm ci --no-audit --no-fund --loglevel=error

web/built/version: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run --silent build

.PHONY: generate
generate: ## Write generated code anew
	$(GO) generate ./schemas

.PHONY: check
check: web/built/version ## Format, vet, lint, web checks, generated files up to date
	@echo "== format"; out=$$($(GOFUMPT) -l $$(git ls-files '*.go' ':!*.pb.go')); if [ -n "$$out" ]; then echo "not gofumpt-clean:"; echo "$$out"; exit 1; fi
	@echo "== vet"; $(GO) vet ./...
	@echo "== lint"; $(LINT) run ./...
	@echo "== web"; cd web && npm run --silent check
	@echo "== modules"; $(GO) mod verify >/dev/null; $(GO) mod tidy -diff
	@echo "== generated files"; tmp=$$(mktemp -d); cp -r schemas/sekishov1 $$tmp/; $(GO) generate ./schemas; diff -r $$tmp/sekishov1 schemas/sekishov1; rm -r $$tmp

# Packages are compiled side by side and run one after another: most of them start brokers and databases, and two of
# those at once on a small machine measure the machine.
.PHONY: test
test: setup build ## Every test: race detector, both brokers, ClickHouse, a real browser
	$(GO) test -race -run '^$$' ./... >/dev/null
	$(GO) test -race -p 1 -timeout 30m ./...
	cd web && npm test

.PHONY: setup
setup: ## Install what the tests drive (Debian packages, when missing): Java 17, Maven, Node, Chromium
	@deploy/setup.sh java mvn node npm chromium

.PHONY: bench
bench: build ## Measure, as ratios against a reference in the same run
	$(GO) run ./bench -binary $(BIN)
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m ./internal/... ./collector/... ./pipeline/...

.PHONY: bench-query
bench-query: ## Measure reports on 50 million generated events: sums by day against events, events against the engine
	$(GO) run ./bench/query

.PHONY: clean
clean: ## Remove what was built; data and fetched libraries stay
	rm -rf bin web/built/*
