package consensus

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"

	"heddle.dev/heddle/fabsim/internal/channel"
)

// CheckNext judges the consensus part of a configuration that somebody
// proposes.
func (c *Chain) CheckNext(next *channel.Config) error {
	raft, err := next.RaftMetadata()
	if err != nil {
		return err
	}
	if err := checkMetadata(next, raft); err != nil {
		return fmt.Errorf("invalid new config metadata: %w", err)
	}
	view := c.view.Load()
	change, err := view.members.become(raft.GetConsenters())
	if err != nil {
		return err
	}
	verify := verifyOptions(next)
	for _, consenter := range change.added {
		if err := checkCertificates(consenter, verify, false); err != nil {
			return fmt.Errorf("consenter %s:%d has invalid certificates: %w", consenter.GetHost(), consenter.GetPort(), err)
		}
	}
	active := *c.active.Load()
	if change.losesQuorum(active) {
		return fmt.Errorf("%d out of %d nodes are alive, configuration will result in quorum loss", len(active), len(view.members.nodes))
	}
	return nil
}

func checkMetadata(config *channel.Config, raft *etcdraft.ConfigMetadata) error {
	o := raft.GetOptions()
	if o == nil {
		return errors.New("nil Raft config metadata options")
	}
	if o.GetHeartbeatTick() == 0 || o.GetElectionTick() == 0 || o.GetMaxInflightBlocks() == 0 {
		return fmt.Errorf("none of HeartbeatTick (%d), ElectionTick (%d) and MaxInflightBlocks (%d) can be zero",
			o.GetHeartbeatTick(), o.GetElectionTick(), o.GetMaxInflightBlocks())
	}
	if o.GetElectionTick() <= o.GetHeartbeatTick() {
		return fmt.Errorf("ElectionTick (%d) must be greater than HeartbeatTick (%d)", o.GetElectionTick(), o.GetHeartbeatTick())
	}
	tick, err := time.ParseDuration(o.GetTickInterval())
	if err != nil {
		return fmt.Errorf("failed to parse TickInterval (%s) to time duration: %w", o.GetTickInterval(), err)
	}
	if tick <= 0 {
		return errors.New("TickInterval cannot be zero")
	}
	if len(raft.GetConsenters()) == 0 {
		return errors.New("empty consenter set")
	}
	verify := verifyOptions(config)
	seen := map[string]bool{}
	for _, consenter := range raft.GetConsenters() {
		if consenter == nil {
			return errors.New("metadata has nil consenter")
		}
		if err := checkCertificates(consenter, verify, true); err != nil {
			return fmt.Errorf("consenter %s:%d has invalid certificate: %w", consenter.GetHost(), consenter.GetPort(), err)
		}
		key := string(consenter.GetClientTlsCert())
		if seen[key] {
			return fmt.Errorf("duplicate consenter: server cert: %s, client cert: %s", consenter.GetServerTlsCert(), consenter.GetClientTlsCert())
		}
		seen[key] = true
	}
	return nil
}

// verifyOptions trusts the TLS authorities of the channel's ordering
// organisations.
func verifyOptions(config *channel.Config) x509.VerifyOptions {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if orderers, ok := config.OrdererConfig(); ok {
		for _, org := range orderers.Organizations() {
			for _, root := range org.MSP().GetTLSRootCerts() {
				roots.AppendCertsFromPEM(root)
			}
			for _, intermediate := range org.MSP().GetTLSIntermediateCerts() {
				intermediates.AppendCertsFromPEM(intermediate)
			}
		}
	}
	return x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func checkCertificates(consenter *etcdraft.Consenter, verify x509.VerifyOptions, expiredToo bool) error {
	for kind, raw := range map[string][]byte{"client": consenter.GetClientTlsCert(), "server": consenter.GetServerTlsCert()} {
		block, _ := pem.Decode(raw)
		if block == nil {
			return fmt.Errorf("parsing tls %s cert of %s:%d: no PEM data found in cert[% x]", kind, consenter.GetHost(), consenter.GetPort(), raw)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("parsing tls %s cert of %s:%d: %w", kind, consenter.GetHost(), consenter.GetPort(), err)
		}
		_, err = certificate.Verify(verify)
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired && expiredToo {
			continue
		}
		if err != nil {
			return fmt.Errorf("verifying tls %s cert with serial number %d: %w", kind, certificate.SerialNumber, err)
		}
	}
	return nil
}
