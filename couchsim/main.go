// Command couchsim stands in for CouchDB on machines that cannot get its image:
// PouchDB's server, which npm has, behind a proxy that adds what a peer needs of
// CouchDB and that server has not. It takes the variables and the settings of
// CouchDB's stock image. It is for trying and testing, says so wherever it
// shows, and is no part of the product: nothing imports it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	o := options{user: os.Getenv("COUCHDB_USER"), password: os.Getenv("COUCHDB_PASSWORD"), log: os.Stderr}
	flag.StringVar(&o.node, "node", "node", "program that runs PouchDB's server")
	flag.StringVar(&o.server, "server", "/opt/couchsim/server.js", "PouchDB's server")
	flag.StringVar(&o.data, "data", "/opt/couchdb/data", "folder of the databases")
	flag.StringVar(&o.settings, "settings", "/opt/couchdb/etc/default.d", "folder of settings")
	flag.StringVar(&o.scratch, "scratch", os.TempDir(), "folder that may be written")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "couchsim: %v\n", err)
		os.Exit(1)
	}
}
