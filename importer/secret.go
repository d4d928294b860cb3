package importer

import (
	"net/url"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/config"
)

// secret makes a reference to an environment variable that is to hold the value,
// so that the value itself stays in the source. Equal values share a variable.
func (j *job) secret(it *item, what, value string, at *yaml.Node) text {
	if value == "" {
		return ""
	}
	if t := j.literal(value); t != plain(value) {
		return t // the source itself takes it from the environment
	}
	name, known := j.variables[value]
	if !known {
		name = j.free(variableName(it.name, what), "SECRET", "_")
		j.variables[value] = name
		line := 0
		if at != nil {
			line = at.Line
		}
		j.found = append(j.found, Variable{Name: name, Doc: clean(what + " of " + it.name), Line: line})
	}
	return text("${" + name + "}")
}

// variableName makes a name such as FRONT_END_PASSWORD.
func variableName(parts ...string) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(strings.Join(parts, "_")) {
		switch {
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	name := strings.Trim(b.String(), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "SECRET_" + name
	}
	return name
}

// header makes the value of a header field. What may be secret becomes a
// variable; the scheme of an Authorization stays readable.
func (j *job) header(it *item, name, value string, at *yaml.Node) text {
	if !secretName(name) {
		return j.literal(value)
	}
	if scheme, rest, ok := strings.Cut(value, " "); ok && strings.HasSuffix(strings.ToLower(name), "authorization") {
		return plain(scheme+" ") + j.secret(it, name, rest, at)
	}
	return j.secret(it, name, value, at)
}

func secretName(name string) bool {
	return config.IsSecretKey(name) || strings.Contains(strings.ToLower(name), "-key")
}

// headers makes the block headers of a map of texts.
func (j *job) headers(it *item, o *object) fields {
	var f fields
	for _, key := range o.keys {
		f.set(key.Value, j.header(it, key.Value, o.str(j.key(key.Value)), key))
	}
	return f
}

// url makes a URL whose password, and parameters with names of secrets, are
// variables. What a variable holds stands in the URL as it is, so it must be
// encoded as it was.
func (j *job) url(it *item, raw string, at *yaml.Node) text {
	head, query, hasQuery := strings.Cut(raw, "?")
	var b strings.Builder
	if scheme, rest, ok := strings.Cut(head, "://"); ok {
		authority, _, _ := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			user, password, has := strings.Cut(authority[:i], ":")
			b.WriteString(string(j.literal(scheme + "://" + user)))
			if has {
				b.WriteString(":" + string(j.secret(it, "password in the URL", password, at)))
			}
			b.WriteString(string(j.literal(head[len(scheme)+3+i:])))
		} else {
			b.WriteString(string(j.literal(head)))
		}
	} else {
		b.WriteString(string(j.literal(head)))
	}
	if !hasQuery {
		return text(b.String())
	}
	for i, pair := range strings.Split(query, "&") {
		b.WriteByte("?&"[min(i, 1)])
		name, value, has := strings.Cut(pair, "=")
		if plainName, err := url.QueryUnescape(name); has && err == nil && (secretName(plainName) || plainName == "key" || plainName == "sig") {
			b.WriteString(string(j.literal(name) + "=" + j.secret(it, plainName, value, at)))
			continue
		}
		b.WriteString(string(j.literal(pair)))
	}
	return text(b.String())
}

// auth sets basic authentication.
func (j *job) auth(it *item, user, password string, at *yaml.Node) {
	if user == "" && password == "" {
		return
	}
	f := fields{{"username", j.literal(user)}}
	if password != "" {
		f.set("password", j.secret(it, "password", password, at))
	}
	it.option("auth", f)
}

// dollars are the references of a shell and what else a dollar sign may begin.
var dollars = regexp.MustCompile(`\$\$\{?|\$\{[A-Za-z_]\w*\}|\$[A-Za-z_]\w*|\$\{`)

// env turns references as the shell has them, $NAME and ${NAME}, into sonde's. It
// notes their names, so that no other variable takes one. $$ is a dollar sign.
func (j *job) env(s string) text {
	return text(dollars.ReplaceAllStringFunc(s, func(found string) string {
		name := strings.Trim(found, "${}")
		switch {
		case found == "$$":
			return "$"
		case name == "": // ${ that is none, or is escaped
			return "$${"
		case j.names[name] == 0:
			j.names[name] = 1
			j.found = append(j.found, Variable{Name: name, Doc: "as " + j.source.Format + " takes it"})
		}
		return "${" + name + "}"
	}))
}

// body makes a request's body. As a whole it becomes a variable when it speaks
// of something secret.
func (j *job) body(it *item, body string, at *yaml.Node) text {
	if config.IsSecretKey(body) {
		return j.secret(it, "body", body, at)
	}
	return j.literal(body)
}

// oneLogin keeps one of several ways to log in, for a check may have only one:
// auth before a header, and that before a user in the URL.
func (j *job) oneLogin(it *item) {
	better := it.optionOf("auth") != nil
	for i, f := range it.options {
		if headers, ok := f.value.(fields); ok && f.key == "headers" {
			kept := fields{}
			for _, h := range headers {
				if !strings.EqualFold(h.key, "Authorization") {
					kept = append(kept, h)
				} else if better {
					j.miss(it, nil, "the header Authorization of "+it.name+" is left out beside another login")
				} else {
					kept, better = append(kept, h), true
				}
			}
			it.options[i].value = kept
		}
	}
	for i, f := range it.options {
		t, ok := f.value.(text)
		if f.key != "url" || !ok || !better {
			continue
		}
		scheme, rest, _ := strings.Cut(string(t), "://")
		authority, _, _ := strings.Cut(rest, "/")
		if at := strings.LastIndexByte(authority, '@'); at >= 0 {
			j.miss(it, nil, "the user in the URL of "+it.name+" is left out beside another login")
			it.options[i].value = text(scheme + "://" + rest[at+1:])
		}
	}
}
