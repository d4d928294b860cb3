package probes

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// SetTarget reads dns://server[:port]/name?type=MX, and dns:name?type=MX or
// dns://name?type=MX for the system's resolver. The parameters are type, class,
// transport, path, servers, trace, recursion, do and
// dnssec, which validates; they may be separated by semicolons as in
// RFC 4501. The schemes dns+tcp, dns+tls and dns+https choose the transport, and
// path is that of DNS over HTTPS.
func (o *dnsOptions) SetTarget(target string) error {
	scheme, rest, _ := strings.Cut(target, ":")
	if _, transport, ok := strings.Cut(scheme, "+"); ok {
		o.Transport = transport
	}
	rest, params, _ := strings.Cut(rest, "?")
	name := rest
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		server, path, found := strings.Cut(authority, "/")
		switch {
		case found && path == "", !found && namesServer(server):
			return fmt.Errorf("%q names a server but not what to ask it, write it like dns://%s/example.com?type=MX", target, server)
		case found:
			o.Server, name = server, path
		default:
			name = server
		}
	}
	name, err := url.PathUnescape(name)
	if err != nil {
		return fmt.Errorf("%q: %w", target, err)
	}
	if name == "" {
		return errors.New("the target has no name to ask for, write it like dns:example.com?type=MX")
	}
	o.Name = name
	return o.setParams(params)
}

// namesServer reports whether what stands alone after dns:// can only be a
// server: an IP address, or something with a port.
func namesServer(text string) bool {
	_, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return err == nil || strings.Contains(text, ":")
}

func (o *dnsOptions) setParams(text string) error {
	values, err := url.ParseQuery(strings.ReplaceAll(text, ";", "&"))
	if err != nil {
		return fmt.Errorf("parameters %q: %w", text, err)
	}
	path := ""
	for key, all := range values {
		value := all[len(all)-1]
		switch strings.ToLower(key) {
		case "type":
			o.Type = value
		case "class":
			o.Class = strings.ToUpper(value)
		case "transport":
			o.Transport = value
		case "servers":
			o.Servers = strings.Split(value, ",")
		case "path":
			path = value
		case "recursion":
			o.Recursion, err = strconv.ParseBool(value)
		case "trace":
			o.Trace, err = strconv.ParseBool(value)
		case "do":
			o.EDNS.DO, err = strconv.ParseBool(value)
		case "dnssec":
			o.DNSSEC.Validate, err = strconv.ParseBool(value)
		default:
			return fmt.Errorf("unknown parameter %q, known are type, class, transport, path, servers, trace, recursion, do and dnssec", key)
		}
		if err != nil {
			return fmt.Errorf("%s=%s: want true or false", key, value)
		}
	}
	if path == "" {
		return nil
	}
	if o.Transport != transportHTTPS || o.Server == "" || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path=%s: is the path of DNS over HTTPS at a server, such as dns+https://192.0.2.53/example.com?path=/dns", path)
	}
	o.Server = "https://" + o.Server + path
	return nil
}
