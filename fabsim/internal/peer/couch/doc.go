// Package couch keeps the state of channels in CouchDB, over its HTTP protocol:
// a database for each namespace, a document for each key. Values that are JSON
// objects are documents that can be asked for by their fields; others are
// attachments.
package couch
