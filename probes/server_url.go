package probes

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// serverURL is a target such as scheme://user:password@host:port/path.
type serverURL struct {
	scheme         string
	user, password string
	host           string
	port           int    // 0: not given
	path           string // without the slash
	query          url.Values
}

// parseServerURL reads a target. Its errors show nothing of it but the port,
// for the rest may hold a password.
func parseServerURL(target string) (*serverURL, error) {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return nil, badURL(err)
	case u.Hostname() == "":
		return nil, fmt.Errorf("needs a host: %s://host:port", u.Scheme)
	case u.Fragment != "":
		return nil, errors.New("takes no fragment (#); escape the character as %23")
	}
	out := &serverURL{scheme: strings.ToLower(u.Scheme), host: u.Hostname(), path: strings.TrimPrefix(u.Path, "/")}
	if u.User != nil {
		out.user = u.User.Username()
		out.password, _ = u.User.Password()
	}
	if u.Port() != "" {
		if out.port, err = strconv.Atoi(u.Port()); err != nil || out.port == 0 {
			return nil, fmt.Errorf("%q is not a port number", u.Port())
		}
	}
	if out.query, err = url.ParseQuery(u.RawQuery); err != nil {
		return nil, errors.New("the part behind ? is no query such as key=value")
	}
	return out, nil
}

// checkServer reports a host or a port that is none. Port 0 is the usual one.
func checkServer(host string, port int) []error {
	var errs []error
	if err := checkHost(host); err != nil {
		errs = append(errs, &check.OptionError{Option: "host", Err: err})
	}
	if port < 0 || port > 65535 {
		errs = append(errs, check.OptionErrorf("port", "%d is not a port number from 1 to 65535", port))
	}
	return errs
}

// writtenSecrets are the forms of a password, that in the target included.
func writtenSecrets(password, target string) []string {
	return slices.DeleteFunc([]string{password, writtenPassword(target)}, func(s string) bool { return s == "" })
}
