package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/test/load"
)

const manifests = `
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: %[1]s}
spec:
  deletionPolicy: Delete
  organizations:
  - {name: ord, mspID: ordMSP, orderers: {count: %[2]d}, ca: {mode: None}}
  - {name: banka, mspID: bankaMSP, peers: {count: 1}, ca: {mode: None}}
  - {name: bankb, mspID: bankbMSP, peers: {count: %[3]d}, ca: {mode: None}}
  channels:
  - name: demo
    batch: {timeoutMilliseconds: 100, maxMessageCount: 100}
`

const contractManifest = `
---
apiVersion: heddle.dev/v1alpha1
kind: Chaincode
metadata: {name: asset, namespace: %[1]s}
spec: {channel: demo, chaincodeName: asset, image: "heddle.dev/asset-go:dev"}
`

// platform is the network as Heddle runs it.
type platform struct {
	name    string
	clients []*load.Client
	close   func()
}

// upPlatform applies the network and its contract and returns when its first transaction is committed. It watches and
// does not ask again and again: on a small machine that would take the time it measures.
func (b *bench) upPlatform(ctx context.Context, name string) (*platform, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	p := &platform{name: name, close: func() {}}
	if err := b.Apply(ctx, fmt.Sprintf(manifests, name, orderers, 1)+fmt.Sprintf(contractManifest, name)); err != nil {
		return nil, err
	}
	if err := b.WaitReady(ctx, &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: contractName}}); err != nil {
		return nil, err
	}
	var err error
	if p.clients, p.close, err = b.Clients(ctx, name, channelName, contractName); err != nil {
		return nil, err
	}
	return p, firstTx(ctx, p.clients[0])
}

// downPlatform deletes the network with all its data and waits until it is gone.
func (b *bench) downPlatform(ctx context.Context, p *platform) error {
	p.close()
	return b.Remove(ctx, &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: p.name}})
}

// settings are the fingerprint of what the network's nodes and channel run with.
func (b *bench) settings(ctx context.Context, p *platform) (string, error) {
	var list appsv1.DeploymentList
	if err := b.List(ctx, &list, client.InNamespace(p.name)); err != nil {
		return "", err
	}
	genesis, err := p.clients[0].Block(ctx, 0)
	if err != nil {
		return "", err
	}
	c, err := channelconfig.Read(genesis)
	if err != nil {
		return "", err
	}
	return fingerprint(environments(list.Items), c.Channel)
}

// environments are those of the peers and orderers among a network's workloads.
func environments(list []appsv1.Deployment) [][]nodeenv.Var {
	var env [][]nodeenv.Var
	for i := range list {
		d := &list[i]
		if c := d.Labels[v1alpha1.LabelComponent]; c == v1alpha1.ComponentPeer || c == v1alpha1.ComponentOrderer {
			env = append(env, variables(d.Spec.Template.Spec.Containers[0].Env))
		}
	}
	return env
}

func variables(env []corev1.EnvVar) []nodeenv.Var {
	var out []nodeenv.Var
	for _, e := range env {
		out = append(out, nodeenv.Var{Name: e.Name, Value: e.Value})
	}
	return out
}
