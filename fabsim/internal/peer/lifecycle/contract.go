package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	lb "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/rwset"
)

// Options of the system contract.
type Options struct {
	// MSPID is the peer's organisation.
	MSPID string
	// Packages are those that are installed.
	Packages *Packages
	// Build makes an installed package ready to run. It is called again for a
	// package that was built before.
	Build func(ctx context.Context, id string, p *Package) error
	// Channels are those that the peer has joined.
	Channels func() []Channel
	// Installed hears of each new package; optional.
	Installed func(ctx context.Context, id string)
}

// Channel is one that the peer has joined.
type Channel interface {
	Config() *channel.Config
	Ledger() *ledger.Ledger
}

// Contract is the system contract _lifecycle.
type Contract struct {
	o     Options
	known known
}

// New makes it.
func New(o Options) *Contract { return &Contract{o: o} }

// Call is one invocation.
type Call struct {
	// Channel is empty for what concerns the peer alone; then Config and
	// Simulator are nil.
	Channel   string
	Config    *channel.Config
	Simulator *ledger.Simulator
	// Access tells whether the caller may use a resource.
	Access func(resource string) error
}

type function func(ctx context.Context, call *Call, name string, raw []byte) (proto.Message, error)

func typed[T any, M interface {
	*T
	proto.Message
}](f func(context.Context, *Call, M) (proto.Message, error)) function {
	return func(ctx context.Context, call *Call, name string, raw []byte) (proto.Message, error) {
		in := M(new(T))
		if err := proto.Unmarshal(raw, in); err != nil {
			return nil, fmt.Errorf("could not decode input arg for *lifecycle.Invocation.%s: %w", name, err)
		}
		return f(ctx, call, in)
	}
}

func (c *Contract) functions() map[string]function {
	return map[string]function{
		"InstallChaincode":                   typed(c.install),
		"QueryInstalledChaincode":            typed(c.queryInstalled),
		"QueryInstalledChaincodes":           typed(c.queryAllInstalled),
		"GetInstalledChaincodePackage":       typed(c.getPackage),
		"ApproveChaincodeDefinitionForMyOrg": typed(c.approve),
		"QueryApprovedChaincodeDefinition":   typed(c.queryApproved),
		"QueryApprovedChaincodeDefinitions":  typed(c.queryAllApproved),
		"CheckCommitReadiness":               typed(c.checkReadiness),
		"CommitChaincodeDefinition":          typed(c.commit),
		"QueryChaincodeDefinition":           typed(c.queryDefinition),
		"QueryChaincodeDefinitions":          typed(c.queryDefinitions),
	}
}

// Invoke runs a function; its errors are in the response.
func (c *Contract) Invoke(ctx context.Context, call *Call, args [][]byte) *pb.Response {
	if len(args) == 0 {
		return failure("lifecycle scc must be invoked with arguments")
	}
	if len(args) != 2 {
		return failure("lifecycle scc operations require exactly two arguments but received %d", len(args))
	}
	name := string(args[0])
	if call.Config != nil {
		applications, ok := call.Config.ApplicationConfig()
		if !ok {
			return failure("could not get application config for channel '%s'", call.Channel)
		}
		if !applications.Capabilities().LifecycleV20() {
			return failure("cannot use new lifecycle for channel '%s' as it does not have the required capabilities enabled", call.Channel)
		}
	}
	if err := call.Access("_lifecycle/" + name); err != nil {
		return failure("Failed to authorize invocation due to failed ACL check: %s", err)
	}
	run, ok := c.functions()[name]
	if !ok {
		return failure("failed to invoke backing implementation of '%s': receiver *lifecycle.Invocation.%s does not exist", name, name)
	}
	out, err := run(ctx, call, name, args[1])
	var undefined undefinedError
	if errors.As(err, &undefined) {
		return &pb.Response{Status: 404, Message: err.Error()}
	}
	if err != nil {
		return failure("failed to invoke backing implementation of '%s': %s", name, err)
	}
	raw, err := proto.Marshal(out)
	if err != nil {
		return failure("failed to marshal result: %s", err)
	}
	return &pb.Response{Status: 200, Payload: raw}
}

func failure(format string, args ...any) *pb.Response {
	return &pb.Response{Status: 500, Message: fmt.Sprintf(format, args...)}
}

func (c *Contract) install(ctx context.Context, _ *Call, in *lb.InstallChaincodeArgs) (proto.Message, error) {
	raw := in.GetChaincodeInstallPackage()
	p, err := ParsePackage(raw)
	if err != nil {
		return nil, fmt.Errorf("could not parse as a chaincode install package: %w", err)
	}
	id := PackageID(p.Label, raw)
	if _, err := c.o.Packages.Load(id); err == nil {
		return nil, fmt.Errorf("chaincode already successfully installed (package ID '%s')", id)
	}
	if err := c.o.Build(ctx, id, p); err != nil {
		return nil, fmt.Errorf("could not build chaincode: %w", err)
	}
	done := c.Changing()
	err = c.o.Packages.Save(id, raw)
	done()
	if err != nil {
		return nil, fmt.Errorf("could not save cc install package: %w", err)
	}
	if c.o.Installed != nil {
		c.o.Installed(ctx, id)
	}
	return &lb.InstallChaincodeResult{PackageId: id, Label: p.Label}, nil
}

func (c *Contract) getPackage(_ context.Context, _ *Call, in *lb.GetInstalledChaincodePackageArgs) (proto.Message, error) {
	raw, err := c.o.Packages.Load(in.GetPackageId())
	if err != nil {
		return nil, fmt.Errorf("could not load cc install package: %w", err)
	}
	return &lb.GetInstalledChaincodePackageResult{ChaincodeInstallPackage: raw}, nil
}

// use is a definition that chose a package.
type use struct{ channel, name, version string }

func (c *Contract) uses(ctx context.Context) (map[string][]use, error) {
	ids, err := c.o.Packages.List()
	if err != nil {
		return nil, err
	}
	out := map[string][]use{}
	for _, id := range ids {
		out[id] = nil
	}
	for _, ch := range c.o.Channels() {
		names, err := c.Names(ctx, ch.Ledger())
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			local, err := c.Local(ctx, ch.Ledger(), name)
			if err != nil {
				return nil, err
			}
			if local != nil && local.PackageID != "" {
				out[local.PackageID] = append(out[local.PackageID], use{ch.Config().ID(), name, local.Definition.Endorsement.GetVersion()})
			}
		}
	}
	return out, nil
}

func (c *Contract) queryInstalled(ctx context.Context, _ *Call, in *lb.QueryInstalledChaincodeArgs) (proto.Message, error) {
	uses, err := c.uses(ctx)
	if err != nil {
		return nil, err
	}
	id := in.GetPackageId()
	found, ok := uses[id]
	if !ok {
		return nil, fmt.Errorf("could not find chaincode with package id '%s'", id)
	}
	out := &lb.QueryInstalledChaincodeResult{PackageId: id, Label: label(id), References: map[string]*lb.QueryInstalledChaincodeResult_References{}}
	for _, u := range found {
		if out.GetReferences()[u.channel] == nil {
			out.References[u.channel] = &lb.QueryInstalledChaincodeResult_References{}
		}
		out.References[u.channel].Chaincodes = append(out.References[u.channel].Chaincodes,
			&lb.QueryInstalledChaincodeResult_Chaincode{Name: u.name, Version: u.version})
	}
	return out, nil
}

func (c *Contract) queryAllInstalled(ctx context.Context, _ *Call, _ *lb.QueryInstalledChaincodesArgs) (proto.Message, error) {
	uses, err := c.uses(ctx)
	if err != nil {
		return nil, err
	}
	out := &lb.QueryInstalledChaincodesResult{}
	for _, id := range slices.Sorted(maps.Keys(uses)) {
		one := &lb.QueryInstalledChaincodesResult_InstalledChaincode{
			PackageId: id, Label: label(id), References: map[string]*lb.QueryInstalledChaincodesResult_References{},
		}
		for _, u := range uses[id] {
			if one.GetReferences()[u.channel] == nil {
				one.References[u.channel] = &lb.QueryInstalledChaincodesResult_References{}
			}
			one.References[u.channel].Chaincodes = append(one.References[u.channel].Chaincodes,
				&lb.QueryInstalledChaincodesResult_Chaincode{Name: u.name, Version: u.version})
		}
		out.InstalledChaincodes = append(out.InstalledChaincodes, one)
	}
	return out, nil
}

// label is what stands before the hash of a package's ID.
func label(id string) string { return id[:max(len(id)-65, 0)] }

// Local is a contract as this peer may run it.
type Local struct {
	Definition *Definition
	// Approved tells whether the peer's organisation has approved it.
	Approved bool
	// PackageID is the package that the organisation chose, if it is installed.
	PackageID string
}

func (c *Contract) local(ctx context.Context, on *ledger.Ledger, name string, ids []string) (*Local, error) {
	d, err := Defined(ctx, name, Committed(on))
	if err != nil || d == nil {
		return nil, err
	}
	out, org := &Local{Definition: d}, committedOrg{on, c.o.MSPID}
	if out.Approved, err = Approved(ctx, name, d, org); err != nil || !out.Approved {
		return out, err
	}
	out.PackageID, err = PackageOf(ctx, name, d.Sequence, ids, org)
	return out, err
}

// Committed reads the public records that are committed.
func Committed(on *ledger.Ledger) Readable { return Public(on) }

// Public reads public records through a ledger or a simulation.
func Public(from ledger.Getter) Readable { return public{from} }

type public struct{ from ledger.Getter }

func (p public) Get(ctx context.Context, key string) ([]byte, error) {
	return p.from.GetState(ctx, Namespace, key)
}

// committedOrg is what is committed of an organisation's records.
type committedOrg struct {
	on    *ledger.Ledger
	mspID string
}

func (o committedOrg) MSPID() string { return o.mspID }

func (o committedOrg) GetHash(ctx context.Context, key string) ([]byte, error) {
	return o.on.GetHash(ctx, Namespace, ImplicitName(o.mspID), rwset.Hash([]byte(key)))
}
