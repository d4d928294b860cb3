package testnet

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"

	"golang.org/x/crypto/ssh"
)

// SSHKeys returns new host keys: Ed25519, ECDSA with P-256 and RSA with 2048 bits.
func SSHKeys() ([]ssh.Signer, error) {
	_, edwards, err1 := ed25519.GenerateKey(rand.Reader)
	curve, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	old, err3 := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	var signers []ssh.Signer
	for _, key := range []any{edwards, curve, old} {
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return nil, err
		}
		signers = append(signers, signer)
	}
	return signers, nil
}

// SSH returns a handler that is an SSH server with these keys, which lets nobody
// in. It may change the configuration; login is called when somebody tries.
func SSH(keys []ssh.Signer, change func(*ssh.ServerConfig), login func()) func(net.Conn) {
	return func(conn net.Conn) {
		config := &ssh.ServerConfig{
			PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
				login()
				return nil, errors.New("nobody gets in")
			},
			AuthLogCallback: func(ssh.ConnMetadata, string, error) { login() },
		}
		for _, key := range keys {
			config.AddHostKey(key)
		}
		if change != nil {
			change(config)
		}
		if server, _, _, err := ssh.NewServerConn(conn, config); err == nil {
			server.Close()
		}
	}
}
