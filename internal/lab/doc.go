// Package lab runs real Kubernetes clusters on one Linux machine without
// touching that machine's own network: one cluster is a site, each node of a
// site is a set of Linux namespaces whose process 1 is this program, and all
// sites of one lab meet in a network namespace of their own. It owns the
// processes, mounts, control groups and files of a lab and takes every one of
// them away again. What runs inside a cluster is not its business.
package lab
