// Package sink runs the suite of waybilltest, and what it cannot know, against sinks with real brokers.
package sink
