// Package members knows the other peers: who they are, how high their ledgers
// are and which contracts they have, and which of them together satisfy an
// endorsement policy.
//
// Simulated peers do not gossip. They tell each other once a second over a
// small service of their own, fabsim.Peers, beginning with the bootstrap peers
// of their settings and the anchor peers of their channels. Real peers do not
// have that service; of those only what the channel's configuration says is
// known, which is enough to ask them for endorsements.
package members
