#!/usr/bin/env bash
# gofmt, go vet and staticcheck over every module of go.work. staticcheck is built once a version, into .tools.
# scripts/test.sh sets RACE=-race, so that what is compiled for these two serves the tests after them.
set -euo pipefail
cd "$(dirname "$0")/.."
version=v0.8.2 # staticcheck 2026.2.2; builds with Go 1.26
tool=.tools/$version/staticcheck

unformatted=$(go list -f '{{.Dir}}' work | while read -r dir; do gofmt -l "$dir"/*.go; done)
if [ -n "$unformatted" ]; then
	printf '%s\n' "not formatted. Try: gofmt -w" "$unformatted"
	exit 1
fi
go vet ${RACE:-} work
[ -x "$tool" ] || GOBIN=$PWD/${tool%/*} go install "honnef.co/go/tools/cmd/staticcheck@$version"
# Not its style checks (ST): an error of ours may begin with the name of a field, say.
GOFLAGS="${GOFLAGS:-} ${RACE:-}" "$tool" -checks 'inherit,-ST*' work
