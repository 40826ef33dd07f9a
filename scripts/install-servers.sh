#!/usr/bin/env bash
# Installs what the tests need and this machine lacks. It says nothing when nothing is missing, and where it may not install
# it prints the line to type: the tests then skip what they cannot have, by name. When a test asks, Go builds NATS and Maven
# fetches Kafka.
set -euo pipefail

missing=()
if [ -z "${WAYBILL_TEST_POSTGRES_URL:-}" ] && ! command -v postgres >/dev/null &&
	! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
	missing+=(postgresql)
fi
if [ -z "${WAYBILL_TEST_RABBITMQ_URL:-}" ] && [ ! -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then
	missing+=(rabbitmq-server)
fi
if [ -z "${WAYBILL_TEST_KAFKA_URL:-}" ]; then
	command -v java >/dev/null || missing+=(default-jre-headless)
	command -v mvn >/dev/null || missing+=(maven) # it fetches Kafka's jars, from wherever its settings say
fi
command -v pgbouncer >/dev/null || missing+=(pgbouncer libfaketime) # a pooler in the way, a server with a wrong clock
if ! command -v "$(go env CC)" >/dev/null; then
	missing+=(gcc libc6-dev) # the race detector is linked by a C compiler
fi
[ ${#missing[@]} -gt 0 ] || exit 0

line="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]}. Try: sudo sh -c '$line' (on Debian; elsewhere by its own names)"
	exit 0
fi

# Debian starts a service when it installs one. The tests start their own, so forbid it meanwhile.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
if [ -e "$policy" ]; then
	trap 'rm -f "$log"' EXIT
else
	trap 'rm -f "$log" "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
echo "installing ${missing[*]}"
if ! DEBIAN_FRONTEND=noninteractive sh -c "$line" </dev/null >"$log" 2>&1; then
	tail -n 20 "$log"
	echo "could not install: ${missing[*]}. Try: $line"
fi
