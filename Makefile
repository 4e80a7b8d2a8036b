# Sekisho: `make run` starts everything, `make test` proves it. `make help` lists the rest.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
GOFUMPT   := $(GO) run mvdan.cc/gofumpt@v0.9.2
BIN       := bin/sekisho
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

.PHONY: run
run: build ## Build and start everything on this machine
	$(BIN) up

.PHONY: build
build: ## Build the binary
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/sekisho

.PHONY: generate
generate: ## Write generated code anew
	$(GO) generate ./schemas

.PHONY: check
check: ## Format, vet, lint, generated files up to date
	@echo "== format"; out=$$($(GOFUMPT) -l $$(git ls-files '*.go' ':!*.pb.go')); if [ -n "$$out" ]; then echo "not gofumpt-clean:"; echo "$$out"; exit 1; fi
	@echo "== vet"; $(GO) vet ./...
	@echo "== modules"; $(GO) mod verify >/dev/null; $(GO) mod tidy -diff
	@echo "== generated files"; tmp=$$(mktemp -d); cp -r schemas/sekishov1 $$tmp/; $(GO) generate ./schemas; diff -r $$tmp/sekishov1 schemas/sekishov1; rm -r $$tmp

.PHONY: test
test: setup build ## Every test: unit, race, both brokers, ClickHouse
	$(GO) test -race -timeout 20m ./...

.PHONY: setup
setup: ## Install what the tests drive: Java 17, Maven, npm (Debian packages, when missing)
	@deploy/setup.sh

.PHONY: bench
bench: ## Measure, as ratios against a reference in the same run
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: clean
clean: ## Remove what was built; data and fetched libraries stay
	rm -rf bin
