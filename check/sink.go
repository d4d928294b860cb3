package check

// Sink receives results. Put and Close are never called concurrently. A Sink
// must not block the measuring for long.
type Sink interface {
	Put(Result) error
	// Close ends the output; nothing is put after it.
	Close() error
}

// Stage changes a result on its way from the judge to the sinks.
type Stage func(Result) Result
