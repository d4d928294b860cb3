//go:build oracle && linux

package probes

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// startPostgres runs PostgreSQL with TLS and a superuser postgres with the
// password s3cret.
func startPostgres(t *testing.T) (port string) {
	t.Helper()
	h := newHome(t, "postgres")
	port = freePort(t)
	cert, key := h.key(t)
	data := h.dir + "/data"
	h.run(t, "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", h.file(t, "password", "s3cret"),
		"--no-sync", "--no-instructions", "--no-locale", "-E", "UTF8")
	h.start(t, port, syscall.SIGINT, "postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", "", "-F",
		"-c", "ssl=on", "-c", "ssl_cert_file="+cert, "-c", "ssl_key_file="+key)
	tick := time.NewTicker(20 * time.Millisecond) // it listens before it lets anybody in
	defer tick.Stop()
	limit := timeout(t, patience)
	for h.command(t, "pg_isready", "-q", "-h", "127.0.0.1", "-p", port).Run() != nil {
		select {
		case <-tick.C:
		case <-limit.Done():
			t.Fatal("PostgreSQL does not start up")
		}
	}
	return port
}

// startMariaDB runs MariaDB with TLS and the users probe and modern with the
// password s3cret.
func startMariaDB(t *testing.T) (port string) {
	t.Helper()
	h := newHome(t, "mysql")
	port = freePort(t)
	cert, key := h.key(t)
	init := h.file(t, "init.sql", "CREATE DATABASE shop;\nCREATE USER probe@'%' IDENTIFIED BY 's3cret';\nGRANT SELECT, EXECUTE ON shop.* TO probe@'%';\n"+
		"INSTALL SONAME 'auth_ed25519';\nCREATE USER modern@'%' IDENTIFIED VIA ed25519 USING PASSWORD('s3cret');\nGRANT SELECT ON shop.* TO modern@'%';\n"+
		"CREATE DEFINER=root@localhost PROCEDURE shop.twice() BEGIN SELECT 1; SELECT 2; END;\n")
	h.run(t, "mariadb-install-db", "--no-defaults", "--datadir="+h.dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	h.start(t, port, syscall.SIGTERM, "mariadbd", "--no-defaults", "--datadir="+h.dir+"/data", "--bind-address=127.0.0.1", "--port="+port,
		"--socket="+h.dir+"/socket", "--pid-file="+h.dir+"/pid", "--skip-name-resolve", "--init-file="+init,
		fmt.Sprintf("--ssl-cert=%s", cert), "--ssl-key="+key)
	return port
}
