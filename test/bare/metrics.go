package bare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"heddle.dev/heddle/internal/fabric/channelconfig"
)

const maxMetrics = 4 << 20

// Metric reads a gauge or counter of the network's channel from a node.
func (n *Network) Metric(ctx context.Context, node *Node, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node.Operations+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("read metrics of %s: %w", node.Name, err)
	}
	defer response.Body.Close()
	prefix := fmt.Sprintf("%s{channel=%q} ", name, n.options.Channel)
	scanner := bufio.NewScanner(io.LimitReader(response.Body, maxMetrics))
	for scanner.Scan() {
		if value, ok := strings.CutPrefix(scanner.Text(), prefix); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, errors.Join(scanner.Err(), fmt.Errorf("read metrics of %s: there is no %s", node.Name, name))
}

// Leader is the orderer that leads the channel, as it says itself.
func (n *Network) Leader(ctx context.Context) (*Orderer, error) {
	name := "consensus_etcdraft_is_leader"
	if n.options.Consensus == channelconfig.BFT {
		name = "consensus_BFT_is_leader"
	}
	for _, o := range n.Orderers {
		if !o.Running() {
			continue
		}
		if leads, err := n.Metric(ctx, &o.Node, name); err == nil && leads == 1 {
			return o, nil
		}
	}
	return nil, errors.New("find leader: no orderer leads")
}
