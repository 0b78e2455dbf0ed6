// Package clients runs clients that nobody of this project wrote against a
// network of bare processes, unchanged: Fabric's gateway client for Node, and
// Caliper with its connector for Fabric. Both come from npm; without node, npm
// or a way to packages the tests say so and are skipped.
package clients
