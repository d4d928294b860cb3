//go:build !unix

package probes

// hasResolvConf tells that there is no resolv.conf and that names are resolved by
// the operating system's functions.
const hasResolvConf = false
