#!/usr/bin/env bash
# The whole proof in its short form, in phases, each with its seconds; it ends with one line about what was skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

WAYBILL_TEST_SKIPPED=$(mktemp)
export WAYBILL_TEST_SKIPPED
phase=none
finish() {
	status=$?
	[ $status = 0 ] || echo "FAILED in phase $phase; the phases after it did not run"
	skipped=$(sort -u "$WAYBILL_TEST_SKIPPED" | paste -sd ';' - | sed 's/;/; /g')
	rm -f "$WAYBILL_TEST_SKIPPED"
	echo "skipped: ${skipped:-nothing}"
	exit $status
}
trap finish EXIT

run() {
	phase=$1
	shift
	local start=$SECONDS
	echo "== $phase"
	"$@"
	echo "== $phase: $((SECONDS - start)) s"
}

export RACE=-race
install() {
	scripts/install-servers.sh
	command -v "$(go env CC)" >/dev/null && return
	case ",${WAYBILL_TEST_REQUIRE:-}," in *,race,*) echo "race is required, and there is no C compiler" && return 1 ;; esac
	echo "race detector (sudo apt-get install -y gcc libc6-dev)" >>"$WAYBILL_TEST_SKIPPED"
	RACE=
}

run install install
run lint scripts/lint.sh
run modules scripts/modules.sh check
run tests go test $RACE -shuffle=on work
if [ -f cmd/waybill/main.go ]; then
	run demo go run ./cmd/waybill demo --for 10s -o json
fi
