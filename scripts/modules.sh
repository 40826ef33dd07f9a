#!/usr/bin/env bash
# modules.sh list   the folders of all modules: those of go.work, then bench and examples, which stand outside
# modules.sh check  each builds alone, as it will for its users, and is tidy; the examples pass their tests
# modules.sh tidy   go mod tidy in each
set -euo pipefail
cd "$(dirname "$0")/.."

list() {
	go list -m -f '{{.Dir}}'
	local outside
	for outside in bench/go.mod examples/*/go.mod; do
		[ ! -f "$outside" ] || dirname "$outside"
	done
}

check() {
	local failed=0 dir
	for dir in $(list); do
		(cd "$dir" && export GOWORK=off && go build -o /dev/null ./... && go mod tidy -diff | sed -n 1,12p) || {
			echo "module in ${dir#"$PWD"/} does not stand alone. Try: make tidy, and a replace for each module of ours that it needs"
			failed=1
		}
		case $dir in examples/*) (cd "$dir" && GOWORK=off go test ./...) || failed=1 ;; esac
	done
	return $failed
}

tidy() {
	local dir
	for dir in $(list); do
		(cd "$dir" && GOWORK=off go mod tidy)
	done
}

case "${1:-}" in
list | check | tidy) "$1" ;;
*) sed -n '2,4s/^# //p' "$0" >&2 && exit 2 ;;
esac
