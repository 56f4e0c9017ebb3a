package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const validity = 10 * 365 * 24 * time.Hour

type certificate struct {
	Name      string   `json:"name"`
	Common    string   `json:"common"`
	Groups    []string `json:"groups"`
	DNS       []string `json:"dns"`
	Addresses []string `json:"addresses"`
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func makeCertificates(folder string, wanted []certificate) error {
	ca, err := openAuthority(folder)
	if err != nil {
		return err
	}
	for _, one := range wanted {
		if err := ca.issue(folder, one); err != nil {
			return fmt.Errorf("certificate %s: %w", one.Name, err)
		}
	}
	return nil
}

func template(common string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: common},
		// Clocks of a host and what it runs may differ a little.
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}, nil
}

func openAuthority(folder string) (*authority, error) {
	file := filepath.Join(folder, "ca")
	known, err := readAuthority(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return known, err
	}
	wanted, err := template("tidegate-test-cluster")
	if err != nil {
		return nil, err
	}
	wanted.IsCA = true
	wanted.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := sign(file, wanted, &authority{wanted, key}, key); err != nil {
		return nil, err
	}
	return readAuthority(file)
}

func readAuthority(file string) (*authority, error) {
	content, err := os.ReadFile(file + ".crt")
	if err != nil {
		return nil, err
	}
	secret, err := os.ReadFile(file + ".key")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	keyBlock, _ := pem.Decode(secret)
	if block == nil || keyBlock == nil {
		return nil, fmt.Errorf("%s.crt or %s.key is not PEM", file, file)
	}
	known, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	return &authority{known, key}, err
}

func (ca *authority) issue(folder string, one certificate) error {
	wanted, err := template(one.Common)
	if err != nil {
		return err
	}
	wanted.Subject.Organization = one.Groups
	wanted.DNSNames = one.DNS
	wanted.ExtKeyUsage = []x509.ExtKeyUsage{
		x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth,
	}
	for _, address := range one.Addresses {
		parsed := net.ParseIP(address)
		if parsed == nil {
			return fmt.Errorf("%q is no address", address)
		}
		wanted.IPAddresses = append(wanted.IPAddresses, parsed)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return sign(filepath.Join(folder, one.Name), wanted, ca, key)
}

func sign(file string, wanted *x509.Certificate, ca *authority, key *ecdsa.PrivateKey) error {
	content, err := x509.CreateCertificate(
		rand.Reader, wanted, ca.certificate, &key.PublicKey, ca.key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(file+".key", "EC PRIVATE KEY", secret); err != nil {
		return err
	}
	return writePEM(file+".crt", "CERTIFICATE", content)
}

func writePEM(file, kind string, content []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
	return os.WriteFile(file, block, 0o600)
}
