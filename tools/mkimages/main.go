// Command mkimages makes the image archives of "make images": it packs the
// programs of a folder, packs or pulls Fabric's, and lists what it made.
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
	var o options
	flag.StringVar(&o.out, "out", "out/images", "folder for the archives")
	flag.StringVar(&o.bin, "bin", "out/bin", "folder of the programs built here")
	flag.StringVar(&o.fabricBin, "fabric-bin", "", "folder of Fabric's release programs; empty: pull images")
	flag.StringVar(&o.simulatedBin, "simulated-bin", "", "folder of simulated nodes, laid out as a release, for when neither can be had; empty: none")
	flag.StringVar(&o.version, "version", "dev", "tag of the images of programs built here")
	flag.StringVar(&o.fabricVersion, "fabric-version", "3.1.5", "version of Fabric's images to pull")
	flag.StringVar(&o.caVersion, "ca-version", "1.5.15", "version of fabric-ca")
	flag.StringVar(&o.couchDBVersion, "couchdb-version", "", "tag of CouchDB's image to pull, or to pack a stand-in for; empty: leave it as it is")
	flag.StringVar(&o.couchsim, "couchsim", "out/couchsim", "folder of the stand-in for CouchDB: the program couchsim, and server with its packages")
	flag.BoolVar(&o.nginx, "nginx", false, "pack this machine's nginx for gateways and links")
	flag.BoolVar(&o.strict, "strict", false, "fail when an image is missing")
	flag.BoolVar(&o.onDemand, "on-demand", false, "make the images that builds of contracts need, and leave the others as they are")
	flag.StringVar(&o.goroot, "goroot", "", "the Go toolchain to pack, with -on-demand")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "mkimages: %v\n", err)
		os.Exit(1)
	}
}
