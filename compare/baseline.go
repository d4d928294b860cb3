package compare

import "time"

type Origin struct{ Created time.Time }
