package natsconn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/natsconn"
	"github.com/nats-io/nats-server/v2/server"
)

// authority signs certificates and writes them into a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// make writes name.pem and name.key.
func (a *authority) make(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.check(err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	a.check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	a.check(err)
	a.check(os.WriteFile(a.path(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	a.check(os.WriteFile(a.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	cert, err := x509.ParseCertificate(der)
	a.check(err)
	return cert, key
}

func (a *authority) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t), newAuthority(t)
	ours.make("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	ours.make("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	pair, err := tls.LoadX509KeyPair(ours.path("server.pem"), ours.path("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, 0, func(o *server.Options) {
		o.TLSVerify = true
		o.TLSTimeout = 10
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: ours.pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	})
	plain := serve(t, 0)

	address := "nats://" + s.Addr().String()
	full := natsconn.Settings{URL: []string{address}, TLSCA: ours.path("ca.pem"), TLSCert: ours.path("client.pem"), TLSKey: ours.path("client.key")}
	if err := full.Validate(); err != nil {
		t.Fatal(err)
	}
	log, _ := newLog(t)
	if !connect(t, full, log).IsConnected() {
		t.Error("not connected with the right files")
	}

	for name, change := range map[string]func(*natsconn.Settings){
		"another authority":         func(s *natsconn.Settings) { s.TLSCA = other.path("ca.pem") },
		"no client certificate":     func(s *natsconn.Settings) { s.TLSCert, s.TLSKey = "", "" },
		"a server that has no TLS":  func(s *natsconn.Settings) { s.URL = []string{plain.ClientURL()} },
		"authorities of the system": func(s *natsconn.Settings) { s.TLSCA = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := full
			change(&settings)
			log, book := newLog(t)
			nc := connect(t, settings, log)
			book.wait(t, 1, "nats connection attempt failed")
			if nc.IsConnected() {
				t.Error("connected")
			}
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.make("client", &x509.Certificate{})
	a.make("second", &x509.Certificate{})
	empty := a.path("empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		settings natsconn.Settings
		want     []string // in the error; none means no error
	}{
		{"nothing", natsconn.Settings{}, nil},
		{"several", natsconn.Settings{URL: []string{"nats://a:4222", "tls://b", "ws://c:80", "wss://[::1]:443"}, Creds: empty}, nil},
		{"no scheme", natsconn.Settings{URL: []string{"localhost:4222"}}, []string{"--nats-url: address 1 of 1: the scheme is not", "nats://127.0.0.1:4222"}},
		{"an address", natsconn.Settings{URL: []string{"127.0.0.1:4222"}}, []string{"--nats-url: address 1 of 1: not a URL"}},
		{"no host", natsconn.Settings{URL: []string{"nats://:4222"}}, []string{"there is no host"}},
		{"another scheme", natsconn.Settings{URL: []string{"http://a"}}, []string{"the scheme is not nats, tls, ws or wss"}},
		{"passwords", natsconn.Settings{URL: []string{"nats://u:hunter2@:4222", "nats://u:hunt@er2:@a b", "u:hunter2@host", "http://hunter2@a"}},
			[]string{"address 1 of 4: there is no host", "address 2 of 4: not a URL", "address 3 of 4: the scheme", "address 4 of 4: the scheme"}},
		{"a password that a list cuts", natsconn.Settings{URL: []string{"nats://kea:hunt", "er2,hunt", "hunter2@host:4222"}},
			[]string{"address 1 of 3: not a URL", "address 2 of 3: the scheme", "address 3 of 3: not a URL", "a comma in a password as %2C"}},
		{"a comma", natsconn.Settings{URL: []string{"nats://kea:hunter2,x@host"}}, []string{"address 1 of 1: there is a comma in it"}},
		{"missing files", natsconn.Settings{Creds: a.path("x"), TLSCA: a.path("y"), TLSCert: a.path("z"), TLSKey: a.path("z")},
			[]string{"--nats-creds=" + a.path("x"), "--nats-tls-ca=" + a.path("y"), "--nats-tls-cert=" + a.path("z"), "no such file"}},
		{"no certificate in it", natsconn.Settings{TLSCA: empty}, []string{"--nats-tls-ca=" + empty + ": there is no certificate in it"}},
		{"half a pair", natsconn.Settings{TLSCert: a.path("client.pem")}, []string{"give both or none"}},
		{"two halves", natsconn.Settings{TLSCert: a.path("client.pem"), TLSKey: a.path("second.key")}, []string{"private key does not match", "belong together"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.settings.Validate()
			if (err != nil) != (test.want != nil) {
				t.Fatalf("error: %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if err == nil {
				return
			}
			if strings.Contains(err.Error(), "hunt") {
				t.Errorf("a password is in: %v", err)
			}
			log, _ := newLog(t)
			if _, connectErr := test.settings.Connect(t.Context(), "keastream-test", log); connectErr == nil {
				t.Error("Connect takes it")
			}
		})
	}
}
