# Sekisho: `make run` starts everything, `make test` proves it. `make help` lists the rest.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
GOFUMPT   := $(GO) run mvdan.cc/gofumpt@v0.9.2
BIN       := bin/sekisho
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path 'web/built/*' 2>/dev/null)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

.PHONY: run
run: build ## Build and start the whole system with its sample site
	$(BIN) up --demo

.PHONY: build
build: web/built/.stamp ## Build the browser parts and the binary
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/sekisho

web/node_modules/.stamp: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

web/built/.stamp: web/node_modules/.stamp $(WEB_SOURCES)
	cd web && npm run --silent build
	@touch $@

.PHONY: web
web: web/built/.stamp ## Build the browser parts

.PHONY: generate
generate: ## Write generated code anew
	$(GO) generate ./schemas

.PHONY: check
check: web/node_modules/.stamp ## Format, vet, lint, generated files up to date
	@echo "== format"; out=$$($(GOFUMPT) -l $$(git ls-files '*.go' ':!*.pb.go')); if [ -n "$$out" ]; then echo "not gofumpt-clean:"; echo "$$out"; exit 1; fi
	@echo "== vet"; $(GO) vet ./...
	@echo "== modules"; $(GO) mod verify >/dev/null; $(GO) mod tidy -diff
	@echo "== generated files"; tmp=$$(mktemp -d); cp -r schemas/sekishov1 $$tmp/; $(GO) generate ./schemas; diff -r $$tmp/sekishov1 schemas/sekishov1; rm -r $$tmp
	@echo "== web"; cd web && npm run --silent check

.PHONY: test
test: setup build ## Every test: unit, race, both engines, browser
	$(GO) test -race -timeout 20m ./...
	cd web && npm test --silent

.PHONY: setup
setup: ## Install what the tests drive: Chromium, Java 17, Maven (Debian packages, when missing)
	@deploy/setup.sh

.PHONY: bench
bench: ## Measure, as ratios against a reference in the same run
	$(GO) test -run '^$$' -bench . -benchmem ./collector/... ./internal/... ./pipeline/...

.PHONY: clean
clean: ## Remove what was built; data and fetched libraries stay
	rm -rf bin web/built/* artifacts
