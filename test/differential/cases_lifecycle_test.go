package differential

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"slices"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	lc "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/fabric/policy"
)

// lifecycle drafts a call of the life cycle's system contract.
func (r *recorder) lifecycle(by *identity.Identity, channel, function string, args proto.Message) *draft {
	r.Helper()
	return newDraft(r.T, by, channel, "_lifecycle", function, string(encode(r.T, args)))
}

func installArgs(pkg []byte) *lc.InstallChaincodeArgs {
	return &lc.InstallChaincodeArgs{ChaincodeInstallPackage: pkg}
}

func installedArgs(id string) *lc.QueryInstalledChaincodeArgs {
	return &lc.QueryInstalledChaincodeArgs{PackageId: id}
}

func definitionArgs(name string) *lc.QueryChaincodeDefinitionArgs {
	return &lc.QueryChaincodeDefinitionArgs{Name: name}
}

func approveArgs(name string, sequence int64) *lc.ApproveChaincodeDefinitionForMyOrgArgs {
	return &lc.ApproveChaincodeDefinitionForMyOrgArgs{
		Name: name, Version: "1", Sequence: sequence, EndorsementPlugin: "escc", ValidationPlugin: "vscc",
		Source: &lc.ChaincodeSource{Type: &lc.ChaincodeSource_Unavailable_{Unavailable: &lc.ChaincodeSource_Unavailable{}}},
	}
}

func commitArgs(name string, sequence int64) *lc.CommitChaincodeDefinitionArgs {
	return &lc.CommitChaincodeDefinitionArgs{Name: name, Version: "1", Sequence: sequence, EndorsementPlugin: "escc", ValidationPlugin: "vscc"}
}

// admins asks the life cycle as an administrator of the peer's organisation and
// notes a decoded answer.
func (r *recorder) manage(do, channel, function string, args, answer proto.Message) *step {
	r.Helper()
	got := r.propose(do, r.peerA, r.lifecycle(r.adminA, channel, function, args).seal(r.T))
	note := r.steps[len(r.steps)-1]
	note.RWSet = nil // where definitions are kept is the peers' own business
	if answer != nil && got.GetResponse().GetStatus() == 200 {
		decode(r.T, got.GetResponse().GetPayload(), answer)
		note.Payload = message(answer)
	}
	return note
}

// agree has both organisations approve and commits, each by a transaction.
func (r *recorder) agree(approve *lc.ApproveChaincodeDefinitionForMyOrgArgs, commit *lc.CommitChaincodeDefinitionArgs) {
	r.Helper()
	for i, by := range []*identity.Identity{r.adminA, r.adminB} {
		s := r.lifecycle(by, trade, "ApproveChaincodeDefinitionForMyOrg", approve).seal(r.T)
		answer := r.propose("approve as "+by.MspID(), r.Peers[i], s)
		r.steps[len(r.steps)-1].RWSet = nil
		if answer.GetEndorsement() == nil {
			return
		}
		r.commit(s.transaction(answer).envelope(r.T))
	}
	s := r.lifecycle(r.adminA, trade, "CommitChaincodeDefinition", commit).seal(r.T)
	var answers []*pb.ProposalResponse
	for _, p := range r.Peers {
		answer := r.propose("commit at "+p.Org.Name, p, s)
		r.steps[len(r.steps)-1].RWSet = nil
		if answer.GetEndorsement() == nil {
			return
		}
		answers = append(answers, answer)
	}
	r.commit(s.transaction(answers...).envelope(r.T))
}

// lifecycles are what goes wrong, and right, between package and contract.
func lifecycles() []scenario {
	return []scenario{
		{name: "install-garbage", run: installGarbage},
		{name: "install-twice", run: func(r *recorder) {
			pkg, err := ccpackage.CCAAS(r.name, ccpackage.Connection{Address: "127.0.0.1:1", DialTimeout: "1s"})
			ok(r.T, err)
			r.manage("install", "", "InstallChaincode", installArgs(pkg), &lc.InstallChaincodeResult{})
			r.manage("install again", "", "InstallChaincode", installArgs(pkg), nil)
			id, err := ccpackage.ID(pkg)
			ok(r.T, err)
			r.manage("query", "", "QueryInstalledChaincode", installedArgs(id), &lc.QueryInstalledChaincodeResult{})
			fetched := &lc.GetInstalledChaincodePackageResult{}
			note := r.manage("fetch", "", "GetInstalledChaincodePackage", &lc.GetInstalledChaincodePackageArgs{PackageId: id}, fetched)
			note.Payload = nil
			note.fact("same bytes", bytes.Equal(pkg, fetched.GetChaincodeInstallPackage()))
		}},
		{name: "installed-unknown", run: func(r *recorder) {
			r.manage("query", "", "QueryInstalledChaincode", installedArgs("none:00"), nil)
			r.manage("fetch", "", "GetInstalledChaincodePackage", &lc.GetInstalledChaincodePackageArgs{PackageId: "none:00"}, nil)
		}},
		{name: "installed-and-used", run: func(r *recorder) {
			result := &lc.QueryInstalledChaincodeResult{}
			note := r.manage("query", "", "QueryInstalledChaincode", installedArgs(r.lab.other), result)
			for _, list := range result.GetReferences() {
				slices.SortFunc(list.GetChaincodes(), func(a, b *lc.QueryInstalledChaincodeResult_Chaincode) int {
					return strings.Compare(a.GetName(), b.GetName())
				})
			}
			note.Payload = message(result)
		}},
		{name: "approve-with-wrong-sequence", run: func(r *recorder) {
			for _, sequence := range []int64{-1, 0, 2, 7} {
				r.manage("approve a new contract", trade, "ApproveChaincodeDefinitionForMyOrg", approveArgs(r.name, sequence), nil)
			}
			for _, sequence := range []int64{0, 1, 3} {
				r.manage("approve a contract that is committed", trade, "ApproveChaincodeDefinitionForMyOrg", approveArgs("other", sequence), nil)
			}
		}},
		{name: "approve-again", run: approveAgain},
		{name: "approve-with-wrong-fields", run: wrongFields},
		{name: "approve-with-wrong-collections", run: wrongCollections},
		{name: "approve-garbage", run: func(r *recorder) {
			r.ask(r.adminA, trade, "_lifecycle", "ApproveChaincodeDefinitionForMyOrg", "garbage")
			r.ask(r.adminA, trade, "_lifecycle", "ApproveChaincodeDefinitionForMyOrg")
			r.ask(r.adminA, trade, "_lifecycle", "NoSuchFunction", "x")
			r.ask(r.adminA, trade, "_lifecycle")
			r.ask(r.adminA, "", "_lifecycle", "ApproveChaincodeDefinitionForMyOrg", string(encode(r.T, approveArgs(r.name, 1))))
		}},
		{name: "readiness", run: func(r *recorder) {
			args := func(name string, sequence int64) *lc.CheckCommitReadinessArgs {
				return &lc.CheckCommitReadinessArgs{Name: name, Version: "1", Sequence: sequence, EndorsementPlugin: "escc", ValidationPlugin: "vscc"}
			}
			for _, sequence := range []int64{0, 1, 2} {
				r.manage("of a new contract", trade, "CheckCommitReadiness", args(r.name, sequence), &lc.CheckCommitReadinessResult{})
			}
			for _, sequence := range []int64{1, 2} {
				r.manage("of a contract that is committed", trade, "CheckCommitReadiness", args("other", sequence), &lc.CheckCommitReadinessResult{})
			}
			r.approve(approveArgs(r.name, 1))
			r.manage("after one approval", trade, "CheckCommitReadiness", args(r.name, 1), &lc.CheckCommitReadinessResult{})
			other := args(r.name, 1)
			other.Version = "2"
			r.manage("of another version", trade, "CheckCommitReadiness", other, &lc.CheckCommitReadinessResult{})
		}},
		{name: "commit-what-is-not-approved", run: func(r *recorder) {
			r.manage("by nobody", trade, "CommitChaincodeDefinition", commitArgs(r.name, 1), nil)
			r.approve(approveArgs(r.name, 1))
			// The peer endorses since its organisation has approved; only together the endorsements would not do.
			s := r.lifecycle(r.adminA, trade, "CommitChaincodeDefinition", commitArgs(r.name, 1)).seal(r.T)
			var answers []*pb.ProposalResponse
			for _, p := range r.Peers {
				answers = append(answers, r.propose("at "+p.Org.Name, p, s))
				r.steps[len(r.steps)-1].RWSet = nil
			}
			if answers[0].GetEndorsement() != nil {
				r.commit(s.transaction(answers[0]).envelope(r.T))
			}
			r.manage("query", trade, "QueryChaincodeDefinition", definitionArgs(r.name), nil)
		}},
		{name: "commit-with-wrong-sequence", run: func(r *recorder) {
			for _, sequence := range []int64{0, 1, 3} {
				r.manage("commit", trade, "CommitChaincodeDefinition", commitArgs("other", sequence), nil)
			}
		}},
		{name: "definitions-unknown", run: func(r *recorder) {
			r.manage("committed", trade, "QueryChaincodeDefinition", definitionArgs("unknown"), nil)
			r.manage("approved", trade, "QueryApprovedChaincodeDefinition", &lc.QueryApprovedChaincodeDefinitionArgs{Name: "unknown", Sequence: 1}, nil)
			r.manage("approved, any sequence", trade, "QueryApprovedChaincodeDefinition", &lc.QueryApprovedChaincodeDefinitionArgs{Name: "unknown"}, nil)
		}},
		{name: "definitions", run: func(r *recorder) {
			for _, name := range []string{"probe", "solo", "vault", "once"} {
				r.manage("committed "+name, trade, "QueryChaincodeDefinition", definitionArgs(name), &lc.QueryChaincodeDefinitionResult{})
			}
			r.manage("approved", trade, "QueryApprovedChaincodeDefinition", &lc.QueryApprovedChaincodeDefinitionArgs{Name: "vault", Sequence: 1},
				&lc.QueryApprovedChaincodeDefinitionResult{})
			r.manage("approved, any sequence", trade, "QueryApprovedChaincodeDefinition", &lc.QueryApprovedChaincodeDefinitionArgs{Name: "empty"},
				&lc.QueryApprovedChaincodeDefinitionResult{})
			r.manage("on the other channel", side, "QueryChaincodeDefinitions", &lc.QueryChaincodeDefinitionsArgs{}, &lc.QueryChaincodeDefinitionsResult{})
		}},
		{name: "upgrade", run: upgrade},
	}
}

// approve has the first organisation approve, without a note.
func (r *recorder) approve(args *lc.ApproveChaincodeDefinitionForMyOrgArgs) {
	r.Helper()
	r.quietly(func() {
		s := r.lifecycle(r.adminA, trade, "ApproveChaincodeDefinitionForMyOrg", args).seal(r.T)
		r.commit(s.transaction(r.propose("approve", r.peerA, s)).envelope(r.T))
	})
}

func approveAgain(r *recorder) {
	r.approve(approveArgs(r.name, 1))
	r.manage("the same", trade, "ApproveChaincodeDefinitionForMyOrg", approveArgs(r.name, 1), nil)
	other := approveArgs(r.name, 1)
	other.Version = "2"
	r.manage("another version", trade, "ApproveChaincodeDefinitionForMyOrg", other, nil)
	other = approveArgs(r.name, 1)
	other.Source = &lc.ChaincodeSource{Type: &lc.ChaincodeSource_LocalPackage{LocalPackage: &lc.ChaincodeSource_Local{PackageId: r.lab.other}}}
	r.manage("another package", trade, "ApproveChaincodeDefinitionForMyOrg", other, nil)
	r.manage("what is committed", trade, "ApproveChaincodeDefinitionForMyOrg", approveArgs("empty", 1), nil)
}

func wrongFields(r *recorder) {
	for _, c := range []struct {
		do   string
		bend func(*lc.ApproveChaincodeDefinitionForMyOrgArgs)
	}{
		{"no name", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name = "" }},
		{"name with a blank", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name = "a b" }},
		{"name of a system contract", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name = "qscc" }},
		{"no version", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) { a.Version = "" }},
		{"version with a blank", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) { a.Version = "1 0" }},
		{"package that is not there", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) {
			a.Source = &lc.ChaincodeSource{Type: &lc.ChaincodeSource_LocalPackage{LocalPackage: &lc.ChaincodeSource_Local{PackageId: "none:00"}}}
		}},
		{"no source", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) { a.Source = nil }},
		{"garbage as policy", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) { a.ValidationParameter = []byte("garbage") }},
		{"policy that is not there", func(a *lc.ApproveChaincodeDefinitionForMyOrgArgs) {
			raw, err := proto.Marshal(&pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_ChannelConfigPolicyReference{ChannelConfigPolicyReference: "NoSuchPolicy"}})
			ok(r.T, err)
			a.ValidationParameter = raw
		}},
	} {
		args := approveArgs(strings.ReplaceAll(r.name, "-", ""), 1)
		c.bend(args)
		r.manage(c.do, trade, "ApproveChaincodeDefinitionForMyOrg", args, nil)
	}
}

func collection(t interface{ Fatal(...any) }, rule string, bend func(*pb.StaticCollectionConfig)) *pb.CollectionConfig {
	envelope, err := policy.Signature(rule)
	if err != nil {
		t.Fatal(err)
	}
	c := &pb.StaticCollectionConfig{
		Name: "mine", MaximumPeerCount: 1,
		MemberOrgsPolicy: &pb.CollectionPolicyConfig{Payload: &pb.CollectionPolicyConfig_SignaturePolicy{SignaturePolicy: envelope}},
	}
	bend(c)
	return &pb.CollectionConfig{Payload: &pb.CollectionConfig_StaticCollectionConfig{StaticCollectionConfig: c}}
}

func wrongCollections(r *recorder) {
	rule := "OR('bankaMSP.member', 'bankbMSP.member')"
	one := func(rule string, bend func(*pb.StaticCollectionConfig)) []*pb.CollectionConfig {
		return []*pb.CollectionConfig{collection(r.T, rule, bend)}
	}
	for _, c := range []struct {
		do          string
		collections []*pb.CollectionConfig
	}{
		{"good one", one(rule, func(*pb.StaticCollectionConfig) {})},
		{"no name", one(rule, func(c *pb.StaticCollectionConfig) { c.Name = "" })},
		{"name with a blank", one(rule, func(c *pb.StaticCollectionConfig) { c.Name = "a b" })},
		{"name of an implicit one", one(rule, func(c *pb.StaticCollectionConfig) { c.Name = "_implicit_org_bankaMSP" })},
		{"more peers required than there may be", one(rule, func(c *pb.StaticCollectionConfig) { c.RequiredPeerCount = 2 })},
		{"less than no peer", one(rule, func(c *pb.StaticCollectionConfig) { c.RequiredPeerCount, c.MaximumPeerCount = -1, -1 })},
		{"no policy", one(rule, func(c *pb.StaticCollectionConfig) { c.MemberOrgsPolicy = nil })},
		{"policy with AND", one("AND('bankaMSP.member', 'bankbMSP.member')", func(*pb.StaticCollectionConfig) {})},
		{"policy of strangers", one("OR('strangeMSP.member')", func(*pb.StaticCollectionConfig) {})},
		{"same name twice", append(one(rule, func(*pb.StaticCollectionConfig) {}), one(rule, func(*pb.StaticCollectionConfig) {})...)},
	} {
		args := approveArgs(r.name, 1)
		args.Collections = &pb.CollectionConfigPackage{Config: c.collections}
		r.manage(c.do, trade, "ApproveChaincodeDefinitionForMyOrg", args, nil)
	}
}

// upgrade takes a contract to its second definition, with another policy.
func upgrade(r *recorder) {
	args := approveArgs(r.name, 1)
	args.Source = &lc.ChaincodeSource{Type: &lc.ChaincodeSource_LocalPackage{LocalPackage: &lc.ChaincodeSource_Local{PackageId: r.probe}}}
	r.agree(args, commitArgs(r.name, 1))
	r.ask(r.clientA, trade, r.name, "put", "a", "1")
	envelope, err := policy.Signature("OR('bankbMSP.peer')")
	ok(r.T, err)
	rule := encode(r.T, &pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_SignaturePolicy{SignaturePolicy: envelope}})
	args.Sequence, args.ValidationParameter, args.Version = 2, rule, "2"
	second := commitArgs(r.name, 2)
	second.ValidationParameter, second.Version = rule, "2"
	r.agree(args, second)
	r.manage("query", trade, "QueryChaincodeDefinition", definitionArgs(r.name), &lc.QueryChaincodeDefinitionResult{})
	s, answers := r.invoke(r.clientA, trade, r.name, "put", "a", "2")
	r.commit(s.transaction(answers[0]).envelope(r.T))
	s, answers = r.invoke(r.clientA, trade, r.name, "put", "a", "3")
	r.commit(s.transaction(answers[1]).envelope(r.T))
}

// archive is a tar.gz of files.
func archive(r *recorder, files map[string]string) []byte {
	r.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	writer := tar.NewWriter(zip)
	for _, name := range []string{"metadata.json", "code.tar.gz", "../escape", "extra.txt"} {
		content, there := files[name]
		if !there {
			continue
		}
		ok(r.T, writer.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		_, err := writer.Write([]byte(content))
		ok(r.T, err)
	}
	ok(r.T, writer.Close())
	ok(r.T, zip.Close())
	return out.Bytes()
}

func installGarbage(r *recorder) {
	code := string(archive(r, map[string]string{"extra.txt": "x"}))
	for _, c := range []struct {
		do  string
		pkg []byte
	}{
		{"nothing", nil},
		{"no archive", []byte("garbage")},
		{"no metadata", archive(r, map[string]string{"code.tar.gz": code})},
		{"no code", archive(r, map[string]string{"metadata.json": `{"type":"ccaas","label":"a_1"}`})},
		{"garbage as metadata", archive(r, map[string]string{"metadata.json": "garbage", "code.tar.gz": code})},
		{"no label", archive(r, map[string]string{"metadata.json": `{"type":"ccaas"}`, "code.tar.gz": code})},
		{"bad label", archive(r, map[string]string{"metadata.json": `{"type":"ccaas","label":"a b/c"}`, "code.tar.gz": code})},
		{"unknown type", archive(r, map[string]string{"metadata.json": `{"type":"cobol","label":"a_1"}`, "code.tar.gz": code})},
		{"file too many", archive(r, map[string]string{"metadata.json": `{"type":"ccaas","label":"a_1"}`, "code.tar.gz": code, "extra.txt": "x"})},
		{"no connection", archive(r, map[string]string{"metadata.json": `{"type":"ccaas","label":"a_1"}`, "code.tar.gz": code})},
	} {
		r.manage(c.do, "", "InstallChaincode", installArgs(c.pkg), nil)
	}
}

// systemContracts ask qscc and cscc.
func systemContracts() []scenario {
	return []scenario{
		{name: "qscc-chain-info", run: func(r *recorder) {
			before := r.ledgers[0].heightNow()
			answer := r.ask(r.clientA, trade, "qscc", "GetChainInfo", trade)
			var info cb.BlockchainInfo
			decode(r.T, answer.GetResponse().GetPayload(), &info)
			r.hide(answer)
			r.steps[0].fact("height is right", info.GetHeight() >= before && info.GetHeight() < before+50).
				fact("hash has bytes", len(info.GetCurrentBlockHash())).fact("previous hash has bytes", len(info.GetPreviousBlockHash()))
		}},
		{name: "qscc-blocks", run: qsccBlocks},
		{name: "qscc-transactions", run: func(r *recorder) {
			s, answers := r.endorsed("put", r.key("a"), "1")
			for do, envelope := range map[string]*cb.Envelope{"valid": s.transaction(answers...).envelope(r.T)} {
				r.quietly(func() { r.commit(envelope) })
				answer := r.ask(r.clientA, trade, "qscc", "GetTransactionByID", trade, s.txID)
				var tx pb.ProcessedTransaction
				decode(r.T, answer.GetResponse().GetPayload(), &tx)
				r.hide(answer)
				r.steps[0].fact("code of the "+do+" one", tx.GetValidationCode()).fact("same envelope", proto.Equal(envelope, tx.GetTransactionEnvelope()))
			}
			s, answers = r.endorsed("put", r.key("a"), "2")
			r.quietly(func() { r.commit(s.transaction(answers[0]).envelope(r.T)) })
			answer := r.ask(r.clientA, trade, "qscc", "GetTransactionByID", trade, s.txID)
			var tx pb.ProcessedTransaction
			decode(r.T, answer.GetResponse().GetPayload(), &tx)
			r.hide(answer)
			r.steps[1].fact("code of the invalid one", tx.GetValidationCode())
			r.ask(r.clientA, trade, "qscc", "GetTransactionByID", trade, "unknown")
			r.ask(r.clientA, trade, "qscc", "GetTransactionByID", trade)
			r.ask(r.clientA, trade, "qscc", "GetBlockByTxID", trade, "unknown")
		}},
		{name: "qscc-errors", run: func(r *recorder) {
			r.ask(r.clientA, trade, "qscc")
			r.ask(r.clientA, trade, "qscc", "NoSuchFunction", trade)
			r.ask(r.clientA, trade, "qscc", "GetChainInfo")
			r.ask(r.clientA, trade, "qscc", "GetChainInfo", "nowhere")
			r.ask(r.clientA, "", "qscc", "GetChainInfo", "nowhere")
			r.ask(r.clientA, trade, "qscc", "GetBlockByNumber", trade, "x")
			r.ask(r.clientA, trade, "qscc", "GetBlockByNumber", trade, "9999999")
			r.ask(r.clientA, trade, "qscc", "GetBlockByNumber", trade)
			r.ask(r.clientA, trade, "qscc", "GetBlockByHash", trade, "garbage")
		}},
		{name: "cscc", run: func(r *recorder) {
			var list pb.ChannelQueryResponse
			answer := r.ask(r.adminA, "", "cscc", "GetChannels")
			decode(r.T, answer.GetResponse().GetPayload(), &list)
			r.hide(answer)
			var names []string
			for _, c := range list.GetChannels() {
				names = append(names, c.GetChannelId())
			}
			r.steps[0].fact("channels", sorted(names))
			var block cb.Block
			answer = r.ask(r.clientA, trade, "cscc", "GetConfigBlock", trade)
			decode(r.T, answer.GetResponse().GetPayload(), &block)
			r.hide(answer)
			r.steps[1].fact("block", block.GetHeader().GetNumber())
			var config cb.Config
			answer = r.ask(r.clientA, trade, "cscc", "GetChannelConfig", trade)
			decode(r.T, answer.GetResponse().GetPayload(), &config)
			r.hide(answer)
			r.steps[2].fact("sequence", config.GetSequence()).fact("groups", len(config.GetChannelGroup().GetGroups()))
		}},
		{name: "cscc-snapshots", refusable: true, run: func(r *recorder) {
			r.ask(r.adminA, "", "cscc", "JoinBySnapshotStatus")
			r.ask(r.adminA, "", "cscc", "JoinBySnapshot", "/nowhere")
		}},
		{name: "cscc-errors", run: func(r *recorder) {
			genesis := encode(r.T, r.Genesis)
			other := proto.CloneOf(r.Genesis)
			other.Data.Data = nil
			for _, args := range [][]string{
				{},
				{"NoSuchFunction"},
				{"JoinChain"},
				{"JoinChain", "garbage"},
				{"JoinChain", string(genesis)},
				{"JoinChain", string(encode(r.T, other))},
				{"GetConfigBlock"},
				{"GetConfigBlock", "nowhere"},
				{"GetChannelConfig", "nowhere"},
			} {
				r.ask(r.adminA, "", "cscc", args...)
			}
		}},
	}
}

func qsccBlocks(r *recorder) {
	var first, second cb.Block
	answer := r.ask(r.clientA, trade, "qscc", "GetBlockByNumber", trade, "0")
	decode(r.T, answer.GetResponse().GetPayload(), &first)
	r.hide(answer)
	r.steps[0].fact("same as the genesis", proto.Equal(first.GetHeader(), r.Genesis.GetHeader()) && proto.Equal(first.GetData(), r.Genesis.GetData()))
	answer = r.ask(r.clientA, trade, "qscc", "GetBlockByHash", trade, string(r.headerHash(first.GetHeader())))
	decode(r.T, answer.GetResponse().GetPayload(), &second)
	r.hide(answer)
	r.steps[1].fact("same block", proto.Equal(&first, &second))
	s, answers := r.endorsed("put", r.key("a"), "1")
	envelope := s.transaction(answers...).envelope(r.T)
	r.quietly(func() { r.commit(envelope) })
	v, err := r.ledgers[0].await(r.ctx(), envelope)
	ok(r.T, err)
	answer = r.ask(r.clientA, trade, "qscc", "GetBlockByTxID", trade, s.txID)
	decode(r.T, answer.GetResponse().GetPayload(), &second)
	r.hide(answer)
	r.steps[2].fact("the block that it is in", second.GetHeader().GetNumber() == v.block)
}
