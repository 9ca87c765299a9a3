# What a developer and CI do with this repository. CI runs .ci/run.

GO       ?= go
PKG      ?= ./...
T        ?=
FUZZTIME ?= 1m
SOAK     ?= 2m
SEED     ?= 0
SEEDS    ?= 1
FORM     ?=

# Each service is a program keastream-<folder>.
services := $(patsubst services/%/main.go,%,$(wildcard services/*/main.go))

.PHONY: help
help: ## Print this list (the default)
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  %-7s %s\n", $$1, $$2 }'
	@echo
	@echo '  make test PKG=./pkg/events T=TestView    one package, one test'

.PHONY: build
build: ## Build all programs into bin/, without the C library
	@mkdir -p bin
	for s in $(services); do CGO_ENABLED=0 $(GO) build -trimpath -o bin/keastream-$$s ./services/$$s || exit 1; done
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/solidserver-sim

# The tests start real servers (PostgreSQL, NATS), so packages beyond the number
# of cores would only wait for each other: -p is left at that number.
.PHONY: test
test: ## Run all tests with the race detector
	$(GO) test -race -timeout 20m $(if $(T),-run '$(T)') $(PKG)

.PHONY: lint
lint: ## Check format, vet, modern Go, staticcheck
	@unformatted=$$(gofmt -l .) || exit 1; if [ -n "$$unformatted" ]; then echo "make fmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet $(PKG)
	$(GO) fix -diff $(PKG)
	$(GO) tool staticcheck $(PKG)

.PHONY: fmt
fmt: ## Format, and rewrite to modern Go
	gofmt -w .
	$(GO) fix $(PKG)

# By default Go spends up to a minute on making one new input shorter, and tries
# no other meanwhile: the time of a target would be gone with the first one.
.PHONY: fuzz
fuzz: ## Run each fuzz target for a minute (FUZZTIME=10s)
	@grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' . | sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*)\(.*|\1 \2|' | sort -u | \
	while read -r dir name; do \
		echo "$$dir $$name"; $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$dir" || exit 1; \
	done

# A seed of 0 is one by chance, another one in each of SEEDS runs; it is printed.
.PHONY: soak
soak: ## Attack publishers and DNS writers with faults by chance (SOAK=2m SEED=4711 SEEDS=10 FORM=single|cluster|embedded)
	$(GO) test -count $(SEEDS) -timeout 0 ./internal/soak -run '^TestSoak$$' -v -args -soak $(SOAK) -seed $(SEED) -form '$(FORM)'

.PHONY: planted
planted: ## Plant bugs into both, which the soak must find (SOAK=2m SEED=4711 BUG=stale-cache)
	$(GO) test -timeout 0 ./internal/soak -run '^TestPlantedBugsAreFound$$' -v -args -planted '$(or $(BUG),all)' -soak $(SOAK) -seed $(SEED) -form '$(FORM)'

.PHONY: bench
bench: ## Run all benchmarks, or some (PKG=./services/publisher/outbox B=Row)
	$(GO) test -timeout 0 -run '^$$' -bench '$(or $(B),.)' $(PKG)

.PHONY: demo
demo: deps build ## Run everything on this machine, with a simulated SOLIDserver (ONCE=1: show it once and end)
	$(GO) run ./cmd/demo $(if $(ONCE),--once)

.PHONY: deps
deps: ## Install what the tests need beside Go (Debian, Ubuntu)
	sh deploy/debian-dependencies.sh

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
