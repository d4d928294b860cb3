package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/nearest"
)

// isPlainType reports whether values of the type stand in the file without
// quotes.
func isPlainType(t reflect.Type) bool {
	if t == durationType || t == sizeType || t == rateType || t == ratioType {
		return false
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return true
	}
	return false
}

// wanted names what a type is written as.
func wanted(t reflect.Type) string {
	switch t {
	case durationType:
		return "a duration such as 300ms, 5s or 14d"
	case sizeType:
		return "a size such as 64KiB or 10MB"
	case rateType:
		return "a rate such as 10/s or 30/m"
	case ratioType:
		return "a share such as 95% or 0.95"
	case regexpType:
		return "a regular expression"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	default:
		return "a list"
	}
}

// setScalar sets v, of a scalar type, from text. It returns what is wrong, in
// words that show the text as shown, and a hint.
func setScalar(v reflect.Value, text, shown string, f *field) (message, hint string) {
	notA := func() string { return fmt.Sprintf("%q is not %s", shown, wanted(v.Type())) }
	switch v.Type() {
	case durationType:
		d, err := check.ParseDuration(text)
		if err != nil {
			return notA(), durationHint(text)
		}
		v.SetInt(int64(d))
		return "", ""
	case sizeType:
		size, err := check.ParseSize(text)
		if err != nil {
			return notA(), numberHint(text)
		}
		v.SetInt(int64(size))
		return "", ""
	case rateType:
		r, err := parseRate(text)
		if err != nil {
			return notA(), rateHint(text)
		}
		v.SetFloat(float64(r))
		return "", ""
	case ratioType:
		r, err := parseRatio(text)
		if err != nil {
			return notA(), ratioHint(text)
		}
		v.SetFloat(float64(r))
		return "", ""
	case regexpType:
		re, err := regexp.Compile(text)
		if err != nil {
			return fmt.Sprintf("%q is not a regular expression: %s", shown, regexpCause(err)), "the syntax is RE2: https://github.com/google/re2/wiki/Syntax"
		}
		v.Set(reflect.ValueOf(re))
		return "", ""
	}
	switch v.Kind() {
	case reflect.Bool:
		if text != "true" && text != "false" {
			return notA(), boolHint(text)
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || !plainInt(text) || v.OverflowInt(n) {
			return notA(), numberHint(text)
		}
		v.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !plainNumber(text) || math.IsInf(n, 0) {
			return notA(), numberHint(text)
		}
		v.SetFloat(n)
	case reflect.String:
		return setString(v, text, shown, f)
	default:
		return fmt.Sprintf("options of the Go type %s are not supported", v.Type()), ""
	}
	return "", ""
}

func setString(v reflect.Value, text, shown string, f *field) (message, hint string) {
	if f.enum != nil {
		known := false
		for _, e := range f.enum {
			known = known || e == text
		}
		if !known {
			return fmt.Sprintf("%q is not one of %s", shown, strings.Join(f.enum, ", ")), didYouMean(text, f.enum)
		}
	}
	v.SetString(text)
	return "", ""
}

func didYouMean(wrong string, known []string) string {
	if best := nearest.To(wrong, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// plainInt accepts decimal digits with a sign, and no leading zero, which YAML
// 1.1 and 1.2 read differently.
func plainInt(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// plainNumber accepts a plain integer with or without decimals; exponents are
// refused, because YAML readers disagree on them.
func plainNumber(s string) bool {
	whole, decimals, point := strings.Cut(s, ".")
	return plainInt(whole) && (!point || decimals != "" && strings.Trim(decimals, "0123456789") == "")
}

func boolHint(text string) string {
	switch strings.ToLower(text) {
	case "yes", "y", "on", "true", "1":
		return "write true"
	case "no", "n", "off", "false", "0":
		return "write false"
	}
	return ""
}

// numberHint shows how to write a number that YAML has a special form for.
func numberHint(text string) string {
	clean := strings.ReplaceAll(text, "_", "")
	if digits := strings.TrimLeft(clean, "0"); digits != clean && digits != "" && plainInt(digits) {
		return fmt.Sprintf("a leading zero is octal to some YAML readers; write %s", digits)
	}
	if n, err := strconv.ParseInt(clean, 0, 64); err == nil {
		return fmt.Sprintf("write %d", n)
	}
	if n, err := strconv.ParseFloat(clean, 64); err == nil && math.Abs(n) < 1e15 {
		return "write " + strconv.FormatFloat(n, 'f', -1, 64)
	}
	return ""
}

func durationHint(text string) string {
	if plainNumber(text) {
		return fmt.Sprintf("a duration needs its unit: %ss or %sms", text, text)
	}
	if d, err := time.ParseDuration(strings.ToLower(strings.ReplaceAll(text, " ", ""))); err == nil {
		return "write " + check.FormatDuration(d)
	}
	return ""
}

func regexpCause(err error) string {
	var bad *syntax.Error
	if errors.As(err, &bad) {
		return string(bad.Code)
	}
	return err.Error()
}
