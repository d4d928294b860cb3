package spelling

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"timeout", "interval", "tags", "name"}
	for wrong, want := range map[string]string{
		"timout": "timeout", "TIMEOUT": "timeout", "tiemout": "timeout", "intervall": "interval",
		"tag": "tags", "naem": "name", "color": "", "": "", "x": "",
	} {
		if got := Nearest(wrong, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", wrong, got, want)
		}
	}
}
