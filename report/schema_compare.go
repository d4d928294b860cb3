package report

// samplesSchema is of what several observations of one check saw.
func samplesSchema() object {
	point := fields(object{
		"started": stamp("of the observation"), "latency_seconds": number0("of the observation"),
		"verdict": object{"$ref": "#/$defs/verdict"}, "reason": object{"$ref": "#/$defs/reason"},
		"failed": typed("boolean", "it took no answer, so its latency counts for no percentile"),
	}, "started", "latency_seconds", "verdict")
	return fields(object{
		"planned": count0("observations"), "taken": count0("fewer than planned when it could no longer pass, or the run ended"),
		"passed": count0("those that met what is expected"), "unknown": count0("those that could not be made"),
		"pass_rate": object{"type": []string{"number", "null"}, "minimum": 0, "maximum": 1, "description": "of those that could be made; null when none could"},
		"early":     typed("boolean", "ended because it could no longer pass"),
		"points":    list(point, "in order of time"),
	}, "planned", "taken", "passed", "pass_rate", "early", "points")
}

// comparisonSchemas are of a comparison with a baseline, by their names.
func comparisonSchemas() object {
	ratio := func(doc string) object {
		return object{"type": []string{"number", "null"}, "minimum": 0, "description": doc}
	}
	share := func(doc string) object {
		return object{"type": "number", "minimum": 0, "maximum": 1, "description": doc}
	}
	text := object{"type": "string"}
	side := fields(object{
		"target": typed("string", "as people read it"), "verdict": object{"$ref": "#/$defs/verdict"}, "reason": object{"$ref": "#/$defs/reason"},
		"samples": count0("latencies that were compared"), "failed": count0("observations without one"),
		"median_seconds": ratio("of the latencies; null without one"),
	}, "target", "verdict", "samples", "failed", "median_seconds")
	outcome := object{"enum": outcomes(), "description": "what became of B"}
	check := fields(object{
		"id": typed("string", "of the check"), "outcome": outcome, "optional": typed("boolean", "the check does not change the exit code"),
		"ratio": ratio("of the latencies, B to A; null where there is none"), "ratio_low": ratio("lower bound"), "ratio_high": ratio("upper bound"),
		"p": share("value of the test"), "needed_samples": count0("about how many would tell what is unclear"),
		"a": object{"$ref": "#/$defs/side"}, "b": object{"$ref": "#/$defs/side"},
		"changes": list(fields(object{"fact": text, "a": text, "b": text}, "fact", "a", "b"), "facts that differ; an empty text is none"),
	}, "id", "outcome", "ratio", "ratio_low", "ratio_high", "p", "a", "b", "changes")
	return object{
		"side": side,
		"comparison": fields(object{
			"method": typed("string", "of the test"), "alpha": share("most runs with a false alarm"), "confidence": share("of the bounds"),
			"min_effect": number0("the least change that matters, as a share of A"),
			"baseline": fields(object{
				"created": stamp("when it was saved"), "host": typed("string", "where"), "sonde": typed("string", "version that saved it"),
			}, "created", "sonde"),
			"summary": object{"type": "object", "additionalProperties": count0("of the outcome"), "description": "comparisons by outcome"},
			"checks":  list(check, "in the order of the file"),
			"only_a":  list(text, "ids without a partner"), "only_b": list(text, "ids without a partner"),
		}, "method", "alpha", "confidence", "min_effect", "summary", "checks", "only_a", "only_b"),
	}
}
