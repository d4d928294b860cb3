package probes

import (
	"reflect"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestSameButURL changes each option in turn, so that none is forgotten.
func TestSameButURL(t *testing.T) {
	t.Parallel()
	a, b := newHTTPOptions(), newHTTPOptions()
	a.URL, b.URL = "http://a.example/", "http://b.example/"
	if !a.sameButURL(b) {
		t.Error("the same options are not the same")
	}
	eachOption(t, reflect.ValueOf(b).Elem(), "", func(option string) {
		if option != ".URL" && a.sameButURL(b) {
			t.Errorf("another %s is the same", option)
		}
	})
}

// eachOption sets each field to another value, calls f, and sets it back.
func eachOption(t *testing.T, v reflect.Value, path string, f func(string)) {
	t.Helper()
	for i := range v.NumField() {
		field, name := v.Field(i), path+"."+v.Type().Field(i).Name
		before := reflect.ValueOf(field.Interface())
		switch field.Kind() {
		case reflect.Struct:
			eachOption(t, field, name, f)
			continue
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Int, reflect.Int64:
			field.SetInt(field.Int() + 1)
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		case reflect.Map:
			field.Set(reflect.MakeMap(field.Type()))
			field.SetMapIndex(reflect.ValueOf("a"), reflect.Zero(field.Type().Elem()))
		default:
			t.Fatalf("%s is of a kind that the test does not know", name)
		}
		f(name)
		field.Set(before)
	}
}

func TestBuildsShareWhatIsTheSame(t *testing.T) {
	t.Parallel()
	var last any
	setup := needs("status")
	setup.Last = &last
	build := func(url string, change func(*httpOptions)) (*httpProbe, check.Plan) {
		t.Helper()
		o := newHTTPOptions()
		o.URL = url
		if change != nil {
			change(o)
		}
		plan, err := o.Build(setup)
		if err != nil {
			t.Fatal(err)
		}
		return plan.Probe.(*httpProbe), plan
	}
	a, _ := build("http://a.example/", nil)
	b, plan := build("http://b.example/x?y", nil)
	if a.httpPlan != b.httpPlan || plan.Target != "http://b.example/x?y" || b.start.Host != "b.example" || len(plan.Defaults) != 3 {
		t.Errorf("%+v, shared %v", plan, a.httpPlan == b.httpPlan)
	}
	keepsA, _ := build("http://a.example/", func(o *httpOptions) { o.Connection = "reuse" })
	keepsB, _ := build("http://b.example/", func(o *httpOptions) { o.Connection = "reuse" })
	if keepsA.httpPlan == b.httpPlan || keepsA.httpPlan != keepsB.httpPlan || keepsA.keeper == nil || keepsA.keeper == keepsB.keeper {
		t.Error("connections are to be kept by each check for itself")
	}
	named, plan := build("http://user:password@a.example/", nil)
	plain, _ := build("http://a.example/", nil)
	if _, secret := plain.header("Authorization"); secret || named.httpPlan == plain.httpPlan || len(plan.Secrets) == 0 {
		t.Error("a URL's user is another's too")
	}
	_, first := build("http://a.example/?token=first-secret", nil)
	_, second := build("http://a.example/?token=second-secret", nil)
	_, third := build("http://a.example/", nil)
	if first.Secrets[0] != "first-secret" || second.Secrets[0] != "second-secret" || len(third.Secrets) != 0 {
		t.Errorf("secrets of URLs: %q, %q, %q", first.Secrets, second.Secrets, third.Secrets)
	}
	setup.Needs = func(fact string) bool { return fact == "body" }
	if body, _ := build("http://a.example/", nil); !body.needs.body {
		t.Error("the body is not read for the check that needs it")
	}
	version3 := func(o *httpOptions) { o.Version = "3" }
	build("https://a.example/", version3)
	plain3 := newHTTPOptions()
	plain3.URL = "http://a.example/"
	version3(plain3)
	if _, err := plain3.Build(setup); err == nil {
		t.Error("HTTP/3 without TLS was taken behind a check of https")
	}
	bad := newHTTPOptions()
	bad.URL = "ftp://a.example/"
	if _, err := bad.Build(setup); err == nil {
		t.Error("a bad URL was taken")
	}
}
