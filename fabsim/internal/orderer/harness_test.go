package orderer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// TestMain lets the test's own program be an orderer, which can then be killed.
func TestMain(m *testing.M) {
	if os.Getenv("FABSIM_TEST_ORDERER") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := orderer.Run(ctx, os.Environ(), os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// member is one orderer of a test.
type member struct {
	name, dir                string
	address, admin, operates string
	tls                      simtest.Leaf
	command                  *exec.Cmd
	conn                     *grpc.ClientConn
}

// network is an ordering organisation with its orderers and one member.
type network struct {
	t          *testing.T
	ord, banka *simtest.Org
	client     *node.Identity
	admin      *node.Identity
	members    []*member
}

func newNetwork(t *testing.T, n int) *network {
	t.Helper()
	if testing.Short() {
		t.Skip("starts orderers: not in -short")
	}
	w := &network{t: t, ord: simtest.NewOrg(t, "ord"), banka: simtest.NewOrg(t, "banka")}
	w.client, w.admin = w.banka.Signer(t, "client", 0), w.ord.Signer(t, "admin", 0)
	for range n {
		w.add()
	}
	return w
}

// add prepares one more orderer and starts it.
func (w *network) add() *member {
	w.t.Helper()
	m := &member{name: fmt.Sprintf("orderer%d", len(w.members)+1), dir: w.t.TempDir()}
	m.tls = w.ord.TLS(w.t, m.name)
	m.address, m.admin, m.operates = freeAddress(w.t), freeAddress(w.t), freeAddress(w.t)
	w.ord.WriteMSP(w.t, filepath.Join(m.dir, "msp"), w.ord.Identity(w.t, m.name, "orderer", 0))
	w.writeTLS(m)
	w.members = append(w.members, m)
	w.t.Cleanup(func() {
		m.kill()
		if w.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(m.dir, "log"))
			w.t.Logf("%s:\n%s", m.name, log[max(0, len(log)-6000):])
		}
	})
	w.start(m)
	return m
}

func (w *network) writeTLS(m *member) {
	simtest.Write(w.t, filepath.Join(m.dir, "tls"), map[string][]byte{"crt": m.tls.Cert, "key": m.tls.Key, "ca": w.ord.TLSRoot()})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *member) environ() []string {
	host, port, _ := strings.Cut(m.address, ":")
	files := m.dir + "/tls/"
	here, _ := os.Getwd()
	return []string{
		"FABSIM_TEST_ORDERER=1", "FABRIC_CFG_PATH=" + here + "/testdata", "FABRIC_LOGGING_SPEC=info",
		"ORDERER_GENERAL_LISTENADDRESS=" + host, "ORDERER_GENERAL_LISTENPORT=" + port,
		"ORDERER_GENERAL_LOCALMSPID=ordMSP", "ORDERER_GENERAL_LOCALMSPDIR=" + m.dir + "/msp",
		"ORDERER_GENERAL_TLS_ENABLED=true", "ORDERER_GENERAL_TLS_CERTIFICATE=" + files + "crt", "ORDERER_GENERAL_TLS_PRIVATEKEY=" + files + "key",
		"ORDERER_GENERAL_CLUSTER_ROOTCAS=[" + files + "ca]", "ORDERER_GENERAL_CLUSTER_RPCTIMEOUT=2s",
		"ORDERER_ADMIN_LISTENADDRESS=" + m.admin, "ORDERER_ADMIN_TLS_ENABLED=true", "ORDERER_ADMIN_TLS_CERTIFICATE=" + files + "crt",
		"ORDERER_ADMIN_TLS_PRIVATEKEY=" + files + "key", "ORDERER_ADMIN_TLS_CLIENTAUTHREQUIRED=true", "ORDERER_ADMIN_TLS_CLIENTROOTCAS=[" + files + "ca]",
		"ORDERER_OPERATIONS_LISTENADDRESS=" + m.operates, "ORDERER_METRICS_PROVIDER=prometheus",
		"ORDERER_FILELEDGER_LOCATION=" + m.dir + "/ledger", "ORDERER_CONSENSUS_WALDIR=" + m.dir + "/wal", "ORDERER_CONSENSUS_SNAPDIR=" + m.dir + "/snap",
		"ORDERER_CONSENSUS_EVICTIONSUSPICION=3s",
	}
}

// start starts an orderer and waits until it is healthy.
func (w *network) start(m *member) {
	w.t.Helper()
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	m.command = exec.Command(os.Args[0])
	m.command.Env, m.command.Stderr = m.environ(), log
	m.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.command.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("health of "+m.name, func() error {
		response, err := http.Get("http://" + m.operates + "/healthz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		conn, err := net.DialTimeout("tcp", m.address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// kill ends an orderer as a power cut would.
func (m *member) kill() {
	if m.command == nil {
		return
	}
	_ = m.command.Process.Kill()
	_ = m.command.Wait()
	m.command = nil
	if m.conn != nil {
		_ = m.conn.Close()
		m.conn = nil
	}
}

func (w *network) eventually(what string, try func() error) {
	w.t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// consenter is an orderer's entry in a channel.
func (m *member) consenter() *etcdraft.Consenter {
	address, _ := net.ResolveTCPAddr("tcp", m.address)
	return &etcdraft.Consenter{Host: "127.0.0.1", Port: uint32(address.Port), ClientTlsCert: m.tls.Cert, ServerTlsCert: m.tls.Cert}
}

func (w *network) channel(id string, members ...*member) simtest.Channel {
	spec := simtest.Channel{ID: id, Orderers: w.ord, Members: []*simtest.Org{w.banka}}
	for _, m := range members {
		spec.Consenters = append(spec.Consenters, m.consenter())
		spec.Endpoints = append(spec.Endpoints, m.address)
	}
	return spec
}

// ask uses the participation API.
func (w *network) ask(m *member, method, path string, block *cb.Block) (int, map[string]any) {
	w.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.ord.TLSRoot())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: pool, Certificates: []tls.Certificate{w.ord.TLS(w.t, "admin").TLS(w.t)},
	}}}
	defer client.CloseIdleConnections()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if block != nil {
		part, err := form.CreateFormFile("config-block", "config.block")
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := part.Write(simtest.Marshal(w.t, block)); err != nil {
			w.t.Fatal(err)
		}
	}
	_ = form.Close()
	request, err := http.NewRequest(method, "https://"+m.admin+"/participation/v1/channels"+path, &body)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", form.FormDataContentType())
	response, err := client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	out := map[string]any{}
	_ = json.NewDecoder(response.Body).Decode(&out)
	return response.StatusCode, out
}

func (w *network) join(m *member, block *cb.Block) map[string]any {
	w.t.Helper()
	code, body := w.ask(m, http.MethodPost, "", block)
	if code != http.StatusCreated {
		w.t.Fatalf("join %s: %d %v", m.name, code, body)
	}
	return body
}

// is waits until a channel of an orderer is as it should be.
func (w *network) is(m *member, channel, relation, status string) {
	w.t.Helper()
	w.eventually(m.name+" to be "+relation+" and "+status, func() error {
		code, body := w.ask(m, http.MethodGet, "/"+channel, nil)
		if body["consensusRelation"] != relation || body["status"] != status {
			return fmt.Errorf("%d %v", code, body)
		}
		return nil
	})
}

func (w *network) connect(m *member) *grpc.ClientConn {
	w.t.Helper()
	if m.conn == nil {
		conn, err := node.Dial(m.address, node.DialOptions{Roots: [][]byte{w.ord.TLSRoot()}})
		if err != nil {
			w.t.Fatal(err)
		}
		m.conn = conn
	}
	return m.conn
}

// send broadcasts one transaction.
func (w *network) send(m *member, message *cb.Envelope) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	stream, err := ab.NewAtomicBroadcastClient(w.connect(m)).Broadcast(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(message); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	response, err := stream.Recv()
	if err != nil {
		return err
	}
	if response.GetStatus() != cb.Status_SUCCESS {
		return fmt.Errorf("%s: %s", response.GetStatus(), response.GetInfo())
	}
	return nil
}

// submit sends a transaction until an orderer takes it.
func (w *network) submit(m *member, channel, data string) {
	w.t.Helper()
	w.eventually("submit "+data, func() error {
		return w.send(m, simtest.Transaction(w.t, w.client, channel, []byte(data)))
	})
}

// blocks fetches a channel's blocks from an orderer, up to and with the last
// one; with until, it waits for that one.
func (w *network) blocks(m *member, channel string, until uint64) ([]*cb.Block, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	stream, err := ab.NewAtomicBroadcastClient(w.connect(m)).Deliver(ctx)
	if err != nil {
		return nil, err
	}
	info := &ab.SeekInfo{
		Start: &ab.SeekPosition{Type: &ab.SeekPosition_Oldest{Oldest: &ab.SeekOldest{}}},
		Stop:  &ab.SeekPosition{Type: &ab.SeekPosition_Newest{Newest: &ab.SeekNewest{}}},
	}
	if until != math.MaxUint64 {
		info.Stop = &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: until}}}
	}
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_DELIVER_SEEK_INFO), ChannelId: channel, Timestamp: timestamppb.Now()}
	if err := stream.Send(simtest.Envelope(w.t, w.client, header, info)); err != nil {
		return nil, err
	}
	var out []*cb.Block
	for {
		response, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if block := response.GetBlock(); block != nil {
			out = append(out, block)
			continue
		}
		if response.GetStatus() != cb.Status_SUCCESS {
			return nil, fmt.Errorf("status %s", response.GetStatus())
		}
		return out, nil
	}
}

// metric reads a figure of an orderer.
func (w *network) metric(m *member, name string) string {
	w.t.Helper()
	response, err := http.Get("http://" + m.operates + "/metrics")
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// leader finds the orderer that leads a channel.
func (w *network) leader(channel string) *member {
	w.t.Helper()
	var found *member
	w.eventually("a leader of "+channel, func() error {
		for _, m := range w.members {
			if m.command != nil && w.metric(m, `consensus_etcdraft_is_leader{channel="`+channel+`"}`) == "1" {
				found = m
				return nil
			}
		}
		return errors.New("there is none")
	})
	return found
}
