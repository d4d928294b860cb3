package cmd

import (
	"fmt"
	"net/http"
)

// shop is a site whose pages want a session, which a form leads to, and whose API
// wants a token.
func shop(w http.ResponseWriter, r *http.Request) {
	session, err := r.Cookie("session")
	known := err == nil && session.Value == "canary-session-1"
	switch r.URL.Path {
	case "/login":
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "canary-session-1", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		if r.Method == http.MethodPost {
			fmt.Fprint(w, `{"token": "canary-token-1", "id": 7}`)
			return
		}
		http.Redirect(w, r, "/", http.StatusFound)
	case "/orders":
		if !known || r.Header.Get("Authorization") != "Bearer canary-token-1" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `[{"id": %q, "for": "canary-token-1"}]`, r.URL.Query().Get("user"))
	case "/logout":
		w.WriteHeader(http.StatusNoContent)
	default:
		if !known {
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
		fmt.Fprint(w, "welcome")
	}
}
