// Package test holds the tests of the root module that need a driver or a server. It is never released.
package test
