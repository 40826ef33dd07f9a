// Package postgres proves source/postgres, cursor mode, on real servers: each reproduction that its rules answer is a test
// here, which fails when the rule is taken out.
package postgres
