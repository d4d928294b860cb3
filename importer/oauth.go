package importer

import (
	"maps"
	"slices"
	"strings"
)

// grant is how OAuth 2.0 client credentials stand in a source.
type grant struct {
	url, id, secret, scopes string // keys
	style                   string // auth_style; empty: sonde's default
}

// prometheusOAuth2 takes over a block oauth2 as Prometheus has it.
func (j *job) prometheusOAuth2(it *item, o *object) {
	g, ok := o.object("oauth2")
	if !ok {
		return
	}
	made := j.grant(it, g, grant{url: "token_url", id: "client_id", secret: "client_secret", scopes: "scopes"})
	if file := g.str("client_secret_file"); file != "" {
		made.set("client_secret", text("${file:"+string(plain(file))+"}"))
	}
	params, _ := g.object("endpoint_params")
	var more fields
	for _, key := range params.keys {
		more.set(key.Value, j.header(it, key.Value, params.str(j.key(key.Value)), key))
	}
	if len(more) > 0 {
		made.set("params", more)
	}
	g.rest()
	j.login(it, g, made)
}

// grant reads the client's credentials.
func (j *job) grant(it *item, o *object, keys grant) fields {
	made := fields{{"token_url", j.url(it, o.str(keys.url), o.place(keys.url))}, {"client_id", j.literal(o.str(keys.id))}}
	if secret := o.str(keys.secret); secret != "" {
		made.set("client_secret", j.secret(it, "client secret", secret, o.place(keys.secret)))
	}
	var scopes []text
	for _, scope := range o.strs(keys.scopes) {
		for word := range strings.FieldsSeq(scope) {
			scopes = append(scopes, j.literal(word))
		}
	}
	if len(scopes) > 0 {
		made.set("scopes", scopes)
	}
	if keys.style != "" {
		made.set("auth_style", keys.style)
	}
	return made
}

// login makes the grant the check's way to log in, unless it lacks something or
// there is another.
func (j *job) login(it *item, o *object, made fields) {
	switch {
	case it.optionOf("auth") != nil:
		j.miss(it, o.at, "oauth2 is left out, for there is another way to log in")
	case made[0].value == text("") || made[1].value == text(""):
		j.miss(it, o.at, "oauth2 is left out, for it has no token endpoint or no client")
	default:
		it.option("auth", fields{{"oauth2", made}})
	}
}

// probeOAuth takes over Cloudprober's oauth_config: a token in a file, and a
// request for one that is RFC 6749's for client credentials.
func (j *job) probeOAuth(it *item, o *object) {
	config, ok := o.object("oauth_config")
	if !ok {
		return
	}
	if bearer, ok := config.object("bearer_token"); ok {
		if file := bearer.str("file"); file != "" {
			it.option("auth", fields{{"token_file", j.literal(file)}})
		}
		bearer.rest()
	}
	if request, ok := config.object("http_request"); ok {
		j.probeTokenRequest(it, request)
	}
	config.rest("refresh_expiry_buffer_sec", "refresh_interval_sec")
}

func (j *job) probeTokenRequest(it *item, o *object) {
	sent := make(map[string]string)
	for _, pair := range o.strs("data") {
		name, value, _ := strings.Cut(pair, "=")
		sent[name] = value
	}
	if sent["grant_type"] != "client_credentials" {
		j.miss(it, o.place("data"), "oauth_config.http_request has no equivalent, unless it asks for client credentials with data")
		return
	}
	made := fields{{"token_url", j.url(it, o.str("token_url"), o.place("token_url"))}, {"client_id", j.literal(sent["client_id"])}}
	if secret := sent["client_secret"]; secret != "" {
		made.set("client_secret", j.secret(it, "client secret", secret, o.place("data")))
	}
	if scope := sent["scope"]; scope != "" {
		made.set("scopes", j.literal(scope))
	}
	made.set("auth_style", "body")
	var more fields
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		if !slices.Contains([]string{"grant_type", "client_id", "client_secret", "scope"}, name) {
			more.set(name, j.header(it, name, sent[name], o.place("data")))
		}
	}
	if len(more) > 0 {
		made.set("params", more)
	}
	if method := o.str("method"); method != "" && method != "POST" {
		j.miss(it, o.place("method"), "oauth_config.http_request.method is left out: the token endpoint is asked with POST")
	}
	o.rest()
	j.login(it, o, made)
}
