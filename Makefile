# Two packages at a time: many of them start servers of their own.
export GOFLAGS := $(strip $(shell go env GOFLAGS) -p=2)

.PHONY: help demo test test-root lint tidy torture bench env
.DEFAULT_GOAL := help

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a double write beside Waybill, same load, same faults; needs nothing but Go
	@go build -o bin/waybill ./cmd/waybill && exec bin/waybill demo

test: ## install what is missing, lint, then test every module with real servers
	@scripts/test.sh

test-root: ## the fast loop: the root module alone
	@go test ./...

lint: ## gofmt, go vet, staticcheck
	@scripts/lint.sh

tidy: ## go mod tidy in every module
	@scripts/modules.sh tidy

torture: ## the long form of the tests: more crashes, more schedules
	WAYBILL_LONG=1 go test -count=1 -timeout=3h work

bench: ## measure against peers, with the conditions
	cd bench && GOWORK=off go run .

env: ## start the servers that the tests use, print their URLs, wait for an interrupt
	@go build -o bin/env ./internal/testenv/env && exec bin/env
