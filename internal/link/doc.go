// Package link is what two sites say to each other: the invitation (a token, the exchange in which a site joins, six
// digits that people compare), and afterwards signed documents over mutual TLS. It owns the protocol, its bounds and
// its cryptography. It takes SiteLinks as data; who is invited, accepted or revoked is decided by controllers in the
// same room, which give that to it as functions.
//
// Whatever comes from the other side is untrusted: sizes, times and connections are bounded here.
package link
