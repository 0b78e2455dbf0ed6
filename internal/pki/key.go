package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	blockPrivateKey   = "PRIVATE KEY"
	blockECPrivateKey = "EC PRIVATE KEY"
)

// NewKey makes an ECDSA P-256 key, the only kind that every Fabric component
// of the supported lines accepts.
func NewKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return key, nil
}

// EncodeKey writes a key as PKCS#8 in PEM. A signer that cannot export its
// key, such as one in a HSM, is an error.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key of type %T: %w", key, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockPrivateKey, Bytes: der}), nil
}

// ParseKey reads the first private key of a PEM text: PKCS#8, or the SEC 1
// form that older tools write. The error never carries any of the text.
func ParseKey(text []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return nil, errors.New("parse key: no PEM block of type PRIVATE KEY")
		}
		switch block.Type {
		case blockPrivateKey:
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("parse PKCS#8 key: %w", err)
			}
			return p256(key)
		case blockECPrivateKey:
			key, err := x509.ParseECPrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("parse EC key: %w", err)
			}
			return p256(key)
		}
	}
}

func p256(key any) (crypto.Signer, error) {
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("parse key: %T is not an ECDSA key", key)
	}
	if ec.Curve != elliptic.P256() {
		return nil, fmt.Errorf("parse key: curve %s is not P-256", ec.Curve.Params().Name)
	}
	return ec, nil
}

// SameKey tells whether a certificate was made for this key.
func SameKey(cert *x509.Certificate, key crypto.Signer) bool {
	if cert == nil || key == nil {
		return false
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}
