package natsconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// Settings are the flags of a service that connects to NATS. A service embeds
// them into its kong struct with the tag `embed:""`. The zero value connects to
// [DefaultURL].
type Settings struct {
	// URL are the addresses of one cluster, scheme nats, tls, ws or wss. It has
	// no default of its own, so that a service can see whether it was given;
	// Connect takes [DefaultURL] if it is empty.
	URL []string `name:"nats-url" placeholder:"URL" help:"Address of NATS; several as a list or by repeating the flag; a comma in a password is written as %2C. Consumers take nats://127.0.0.1:4222 without it."`

	// Creds is the path of a credentials file (user JWT and key). It is read
	// anew at each connect.
	Creds string `name:"nats-creds" placeholder:"FILE" help:"Credentials file of the NATS user."`

	// TLSCA is a PEM file with the authorities that are trusted. Empty means
	// those of the system. With it the connection is refused without TLS.
	TLSCA string `name:"nats-tls-ca" placeholder:"FILE" help:"PEM file of the authorities that sign the certificate of NATS; requires TLS."`

	// TLSCert and TLSKey are PEM files, given together. They are read anew at
	// each connect.
	TLSCert string `name:"nats-tls-cert" placeholder:"FILE" help:"PEM file of the client certificate for NATS; requires TLS."`
	TLSKey  string `name:"nats-tls-key" placeholder:"FILE" help:"PEM file of the key to the client certificate."`

	// InProcess, if not nil, is a server inside this process: it is connected
	// to without the network and the addresses are not used.
	InProcess nats.InProcessConnProvider `kong:"-"`
}

// Validate reports everything that is wrong with the settings, joined. It reads
// the files. An address that is wrong is not repeated: it may be a part of a
// password, which a comma cut in two.
func (s Settings) Validate() error {
	var problems []error
	wrong := func(format string, v ...any) { problems = append(problems, fmt.Errorf(format, v...)) }

	for i, address := range s.URL {
		if err := checkURL(address); err != nil {
			wrong("--nats-url: address %d of %d: %w: give it as in %s, and write a comma in a password as %%2C",
				i+1, len(s.URL), err, DefaultURL)
		}
	}
	if err := checkCreds(s.Creds); err != nil {
		wrong("--nats-creds=%s: %w: give a file that the user of this service may read", s.Creds, err)
	}
	if err := checkCA(s.TLSCA); err != nil {
		wrong("--nats-tls-ca=%s: %w: give a PEM file that the user of this service may read", s.TLSCA, err)
	}
	switch {
	case (s.TLSCert == "") != (s.TLSKey == ""):
		wrong("--nats-tls-cert=%s --nats-tls-key=%s: one is of no use without the other: give both or none", s.TLSCert, s.TLSKey)
	case s.TLSCert != "":
		if _, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey); err != nil {
			wrong("--nats-tls-cert=%s --nats-tls-key=%s: %w: give two PEM files that belong together", s.TLSCert, s.TLSKey, err)
		}
	}
	return errors.Join(problems...)
}

// addresses is URL with its default.
func (s Settings) addresses() []string {
	if len(s.URL) == 0 {
		return []string{DefaultURL}
	}
	return s.URL
}

func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		// The text of the error repeats the address with its password.
		return errors.New("not a URL")
	case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
		return errors.New("the scheme is not nats, tls, ws or wss")
	case u.Hostname() == "":
		return errors.New("there is no host in it")
	case strings.Contains(address, ","):
		// The client takes the addresses as one list, and would cut it here.
		return errors.New("there is a comma in it")
	}
	return nil
}

func checkCreds(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return file.Close()
}

func checkCA(path string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return errors.New("there is no certificate in it")
	}
	return nil
}

// Redact hides user, password and token of an address.
func Redact(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "", address
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "[redacted]" + rest[at:]
	}
	if !found {
		return rest
	}
	return scheme + "://" + rest
}

func redactAll(addresses []string) []string {
	out := make([]string, 0, len(addresses))
	for _, a := range addresses {
		out = append(out, Redact(a))
	}
	return out
}
