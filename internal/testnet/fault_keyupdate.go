package testnet

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"net"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// keyUpdates answers the handshake of TLS 1.3 and then changes its key without
// end (RFC 8446, section 4.6.3), which crypto/tls never does by itself: the
// records are made here, with the secret that it logs.
func keyUpdates(ca *CA) (server, error) {
	cert, err := ca.Issue(CertOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		return nil, err
	}
	return ListenTCP(func(conn net.Conn) {
		var keys bytes.Buffer
		secure := tls.Server(conn, &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, KeyLogWriter: &keys,
		})
		if secure.Handshake() != nil {
			return
		}
		s, err := newTrafficSecret(secure.ConnectionState().CipherSuite, keys.String())
		for err == nil {
			err = s.update(conn)
		}
	})
}

// trafficSecret is what a server's records of TLS 1.3 are made with.
type trafficSecret struct {
	secret []byte
	hash   func() hash.Hash
	size   int // of the key, bytes
	aead   func(key []byte) (cipher.AEAD, error)
}

func newTrafficSecret(suite uint16, keyLog string) (*trafficSecret, error) {
	s := &trafficSecret{hash: sha256.New, size: 16, aead: aesGCM}
	switch suite {
	case tls.TLS_AES_256_GCM_SHA384:
		s.hash, s.size = sha512.New384, 32
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		s.size, s.aead = chacha20poly1305.KeySize, chacha20poly1305.New
	}
	for line := range strings.Lines(keyLog) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "SERVER_TRAFFIC_SECRET_0" {
			var err error
			s.secret, err = hex.DecodeString(words[2])
			return s, err
		}
	}
	return nil, errors.New("no traffic secret was logged")
}

func aesGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
func (s *trafficSecret) expand(label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(append(append(info, byte(len(label))), label...), 0)
	return hkdf.Expand(s.hash, s.secret, string(info), size)
}

// update sends a KeyUpdate, the only record of its key, and changes the key.
func (s *trafficSecret) update(conn net.Conn) error {
	key, err := s.expand("key", s.size)
	if err != nil {
		return err
	}
	nonce, err := s.expand("iv", 12) // of record 0
	if err != nil {
		return err
	}
	aead, err := s.aead(key)
	if err != nil {
		return err
	}
	message := []byte{24, 0, 0, 1, 0, 22} // key_update, update_not_requested; a handshake record
	head := []byte{23, 3, 3, 0, byte(len(message) + aead.Overhead())}
	if _, err := conn.Write(aead.Seal(head, nonce, message, head)); err != nil {
		return err
	}
	s.secret, err = s.expand("traffic upd", s.hash().Size())
	return err
}
