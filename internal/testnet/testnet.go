// Package testnet runs loopback servers, good and hostile, for tests and for
// the playground. It depends on no test framework and never leaves 127.0.0.1.
package testnet
