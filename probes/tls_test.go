package probes

import (
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// shake connects to the address and shakes hands.
func shake(t *testing.T, options TLS, name, host, port string, d time.Duration) (check.Observation, *check.Reason) {
	t.Helper()
	plan, err := options.build()
	if err != nil {
		t.Fatal(err)
	}
	ctx := timeout(t, d)
	j := begin()
	conn, reason := j.connect(ctx, &router{}, host, port)
	if reason != nil {
		t.Fatal(reason)
	}
	defer conn.Close()
	secure, reason := j.handshake(ctx, conn, plan, name, nil)
	if reason == nil {
		reason = j.refusal(secure)
	}
	return j.end(), reason
}

func TestHandshakeOfAGoodServer(t *testing.T) {
	t.Parallel()
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}}), testnet.Silence)
	o, reason := shake(t, TLS{CA: caFile(t)}, "api.test", host, port, patience)
	if reason != nil {
		t.Fatal(reason)
	}
	if o.Facts["cert.trusted"] != true || o.Facts["cert.hostname_ok"] != true || o.Facts["tls.version"] != "1.3" {
		t.Errorf("facts %v because %v", o.Facts, o.Because)
	}
	for _, f := range tlsFacts() {
		if v, ok := o.Facts[f.Name]; !ok || !f.Type.Accepts(v) {
			t.Errorf("%s is %v (%T), want a %s", f.Name, v, v, f.Type)
		}
	}
}

func TestB4ExpiredLeaf(t *testing.T) {
	t.Parallel()
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{
		Names: []string{"api.test"}, NotAfter: time.Now().AddDate(0, 0, -3),
	}), testnet.Silence)
	for _, insecure := range []bool{false, true} {
		o, reason := shake(t, TLS{CA: caFile(t), Insecure: insecure}, "api.test", host, port, patience)
		if reason != nil {
			t.Fatal(reason)
		}
		if o.Facts["cert.trusted"] != false || o.Because["cert.trusted"].Code != check.TLSExpired {
			t.Errorf("insecure %v: trusted %v because %v", insecure, o.Facts["cert.trusted"], o.Because)
		}
		if left := o.Facts["cert.expires_in"].(time.Duration); left > -70*time.Hour {
			t.Errorf("expires in %v", left)
		}
	}
}
