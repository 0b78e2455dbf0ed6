// Package samples runs the sample contracts, in every language, on a network of
// bare processes: the same calls have to give the same results and events in
// each, and the clients that come with them have to get to their end. Node, npm
// and its packages are needed for those that are not in Go; without them the
// tests say so and are skipped.
package samples
