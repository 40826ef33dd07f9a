// Package telemetry tests the module telemetry with a relay, a registry and a collector of traces that speaks OTLP over HTTP.
package telemetry
