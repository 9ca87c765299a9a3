package solidsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net/netip"
	"time"
)

// An authority is a certificate authority that made one server certificate
// and then threw its key away.
type authority struct {
	pem    []byte
	pool   *x509.CertPool
	server tls.Certificate
}

// lifetime of the certificates. They are new with every start.
const lifetime = 365 * 24 * time.Hour

// newAuthority makes a CA and a certificate for the addresses of this host and
// for host, a name or an address.
func newAuthority(host string) (*authority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "solidserver-sim CA"},
		NotBefore:             now.Add(-time.Hour), // clocks of containers differ
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make server key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, serverCertificate(host, now), ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make server certificate for %q: %w", host, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &authority{
		pem:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		pool:   pool,
		server: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}, nil
}

// config is for a server that speaks HTTP/1.1 alone: faults reset connections,
// which HTTP/2 cannot do.
func (a *authority) config() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{a.server},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
	}
}

func serverCertificate(host string, now time.Time) *x509.Certificate {
	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "solidserver-sim"},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
	}
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if host != "" {
		server.DNSNames = append(server.DNSNames, host)
	}
	for _, addr := range addrs {
		server.IPAddresses = append(server.IPAddresses, addr.AsSlice())
	}
	return server
}
