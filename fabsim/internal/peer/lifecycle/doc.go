// Package lifecycle is the life of contracts on channels: packages that are
// installed, definitions that organisations approve and commit, in the state
// layout of Fabric's _lifecycle namespace, so that simulated and real peers
// share a channel. Running a contract is of internal/peer/runtime.
package lifecycle
