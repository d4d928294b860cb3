package probes

import (
	"maps"
	"slices"
)

// sameButURL reports whether the options are the same but for the URL.
func (o *httpOptions) sameButURL(to *httpOptions) bool {
	return o.Method == to.Method && maps.Equal(o.Headers, to.Headers) && o.HeadersFile == to.HeadersFile &&
		o.Body == to.Body && o.BodyFile == to.BodyFile && o.Payload.same(&to.Payload) && o.Auth.same(&to.Auth) &&
		o.Redirects == to.Redirects && o.Cookies == to.Cookies && o.Version == to.Version && o.Compression == to.Compression && o.MaxBody == to.MaxBody &&
		o.Connection == to.Connection && o.Unix == to.Unix && o.Proxied == to.Proxied && o.TLS == to.TLS &&
		o.Close == to.Close && o.Route.same(&to.Route)
}

func (p *Payload) same(to *Payload) bool {
	return p.JSON == to.JSON && maps.EqualFunc(p.Form, to.Form, slices.Equal) && slices.Equal(p.Multipart, to.Multipart) &&
		p.RequestCompression == to.RequestCompression
}

func (a *httpAuth) same(to *httpAuth) bool {
	x, y := &a.OAuth2, &to.OAuth2
	return a.Type == to.Type && a.Username == to.Username && a.Password == to.Password && a.Token == to.Token && a.TokenFile == to.TokenFile &&
		x.TokenURL == y.TokenURL && x.ClientID == y.ClientID && x.ClientSecret == y.ClientSecret && slices.Equal(x.Scopes, y.Scopes) &&
		x.Audience == y.Audience && maps.Equal(x.Params, y.Params) && x.AuthStyle == y.AuthStyle
}
