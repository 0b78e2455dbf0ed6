// Package shim adds to PouchDB's server what a peer needs of CouchDB: revisions
// in ETag and If-Match, documents with attachments as multipart/related, pages
// of queries by bookmark, one administrator with a password, and CouchDB's files
// of settings. It knows nothing of how that server is run.
package shim
