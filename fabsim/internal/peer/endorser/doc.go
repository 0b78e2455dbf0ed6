// Package endorser takes in proposals: it checks who may propose what, has the
// contract simulate it, and signs the result. It also has the peer's own
// contracts: cscc, qscc, and the way to _lifecycle. Texts and codes of what it
// refuses are Fabric's, for clients look at them.
package endorser
