// Package participation is the HTTP API by which administrators let an orderer
// join and leave channels, with the paths, statuses and texts of Fabric 3.1.5.
package participation
