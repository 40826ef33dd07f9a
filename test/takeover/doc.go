// Package takeover shows with the real command, several processes of it on real servers, that every relay has exactly one owner.
package takeover
