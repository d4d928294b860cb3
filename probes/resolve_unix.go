//go:build unix

package probes

// hasResolvConf tells that names are resolved by sonde itself, with the servers of
// resolv.conf.
const hasResolvConf = true
