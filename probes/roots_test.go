//go:build unix && !darwin

package probes

import (
	"os"
	"testing"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// TestB23NoRootCertificates runs where the system has no roots. macOS asks its
// keychain instead of files.
func TestB23NoRootCertificates(t *testing.T) {
	if os.Getenv(role) == "" {
		t.Parallel()
		alone(t, "SSL_CERT_FILE="+t.TempDir()+"/none", "SSL_CERT_DIR="+t.TempDir())
		return
	}
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}}), testnet.Silence)
	if _, reason := shake(t, TLS{}, "api.test", host, port, patience); !code(reason).Local() {
		t.Errorf("got %v", reason)
	}
	if _, reason := shake(t, TLS{Insecure: true}, "api.test", host, port, patience); reason != nil {
		t.Errorf("insecure: %v", reason)
	}
	if _, reason := shake(t, TLS{CA: caFile(t)}, "api.test", host, port, patience); reason != nil {
		t.Errorf("with a CA: %v", reason)
	}
}
