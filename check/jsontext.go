package check

// JSON is an option's value of any shape: the text of a JSON document that says
// what stands in the file, with the keys of maps in the order of the file.
type JSON string
