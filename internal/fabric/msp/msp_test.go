package msp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-lib-go/bccsp/sw"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-x-common/api/msppb"
	realmsp "github.com/hyperledger/fabric-x-common/msp"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/pki"
)

// organisation is a whole one: two roots, two intermediates below each.
type organisation struct {
	ops, app *pki.Issuer
	material Material
}

func newIssuer(t *testing.T, name string, above *pki.Issuer) *pki.Issuer {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	req := pki.IssuerRequest{CommonName: name, Organization: "banka", Key: key, Lifetime: 24 * time.Hour, Now: time.Now()}
	issuer, err := pki.NewRoot(req)
	if above != nil {
		issuer, err = above.NewIntermediate(req)
	}
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

func newOrganisation(t *testing.T) organisation {
	t.Helper()
	root, tlsRoot := newIssuer(t, "root", nil), newIssuer(t, "tls root", nil)
	ops, app := newIssuer(t, "ops", root), newIssuer(t, "app", root)
	tlsOps, tlsApp := newIssuer(t, "tls ops", tlsRoot), newIssuer(t, "tls app", tlsRoot)
	block := func(i *pki.Issuer) []byte { return pki.EncodeCerts(i.Cert) }
	return organisation{ops: ops, app: app, material: Material{
		CACerts: [][]byte{block(root)}, IntermediateCerts: [][]byte{block(ops), block(app)},
		TLSCACerts: [][]byte{block(tlsRoot)}, TLSIntermediates: [][]byte{block(tlsOps), block(tlsApp)},
		NodeOUs: DefaultNodeOUs(),
	}}
}

func enrol(t *testing.T, issuer *pki.Issuer, role pki.Role) []byte {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := issuer.Enrol(pki.EnrolRequest{CommonName: "a", Role: role, Public: key.Public(), Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCerts(cert)
}

// judge sets up Fabric's own MSP code with a config.
func judge(t *testing.T, config *mspproto.MSPConfig, version realmsp.MSPVersion) realmsp.MSP {
	t.Helper()
	provider, err := sw.NewDefaultSecurityLevelWithKeystore(sw.NewDummyKeyStore())
	if err != nil {
		t.Fatal(err)
	}
	m, err := realmsp.New(&realmsp.BCCSPNewOpts{NewBaseOpts: realmsp.NewBaseOpts{Version: version}}, provider)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Setup(config); err != nil {
		t.Fatal(err)
	}
	return m
}

func satisfies(t *testing.T, m realmsp.MSP, certText []byte, role mspproto.MSPRole_MSPRoleType) error {
	t.Helper()
	identity, err := m.DeserializeIdentity(msppb.NewIdentity("BankaMSP", certText))
	if err != nil {
		return err
	}
	if err := identity.Validate(); err != nil {
		return err
	}
	principal, err := proto.Marshal(&mspproto.MSPRole{MspIdentifier: "BankaMSP", Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return identity.SatisfiesPrincipal(&mspproto.MSPPrincipal{PrincipalClassification: mspproto.MSPPrincipal_ROLE, Principal: principal})
}

// TestRolesFromEitherIntermediate is the reason why no authority is pinned in
// the node OUs: leaves of both must be told apart by the unit alone.
func TestRolesFromEitherIntermediate(t *testing.T) {
	org := newOrganisation(t)
	config, err := org.material.Config("BankaMSP")
	if err != nil {
		t.Fatal(err)
	}
	roles := map[pki.Role]mspproto.MSPRole_MSPRoleType{
		pki.RolePeer: mspproto.MSPRole_PEER, pki.RoleOrderer: mspproto.MSPRole_ORDERER,
		pki.RoleAdmin: mspproto.MSPRole_ADMIN, pki.RoleClient: mspproto.MSPRole_CLIENT,
	}
	for _, version := range []realmsp.MSPVersion{realmsp.MSPv1_4_3, realmsp.MSPv3_0} {
		m := judge(t, config, version)
		for name, issuer := range map[string]*pki.Issuer{"ops": org.ops, "app": org.app} {
			for role := range roles {
				cert := enrol(t, issuer, role)
				for other, principal := range roles {
					if err := satisfies(t, m, cert, principal); (err == nil) != (role == other) {
						t.Errorf("%s by %s as %s: %v", role, name, other, err)
					}
				}
				if err := satisfies(t, m, cert, mspproto.MSPRole_MEMBER); err != nil {
					t.Errorf("%s by %s is no member: %v", role, name, err)
				}
			}
		}
		if err := satisfies(t, m, enrol(t, newIssuer(t, "stranger", nil), pki.RoleClient), mspproto.MSPRole_MEMBER); err == nil {
			t.Error("a stranger is a member")
		}
	}
}

// TestPinnedAuthority shows that the restriction of an organisation that has
// one survives and works: only that authority may make admins.
func TestPinnedAuthority(t *testing.T) {
	org := newOrganisation(t)
	org.material.NodeOUs.Admin.Certificate = org.material.IntermediateCerts[0]
	config, err := org.material.Config("BankaMSP")
	if err != nil {
		t.Fatal(err)
	}
	m := judge(t, config, realmsp.MSPv1_4_3)
	if err := satisfies(t, m, enrol(t, org.ops, pki.RoleAdmin), mspproto.MSPRole_ADMIN); err != nil {
		t.Error(err)
	}
	if err := satisfies(t, m, enrol(t, org.app, pki.RoleAdmin), mspproto.MSPRole_ADMIN); err == nil {
		t.Error("the other intermediate made an admin")
	}
}

func TestRevocation(t *testing.T) {
	org := newOrganisation(t)
	bad := enrol(t, org.app, pki.RoleClient)
	cert, err := pki.ParseCert(bad)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, list := range []struct {
		issuer  *pki.Issuer
		entries []pki.Revoked
	}{{org.ops, nil}, {org.app, []pki.Revoked{{Serial: cert.SerialNumber, At: now}}}} {
		crl, err := list.issuer.CRL(list.entries, 1, now, now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		org.material.CRLs = append(org.material.CRLs, crl)
	}
	config, err := org.material.Config("BankaMSP")
	if err != nil {
		t.Fatal(err)
	}
	m := judge(t, config, realmsp.MSPv1_4_3)
	if err := satisfies(t, m, bad, mspproto.MSPRole_CLIENT); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("a revoked identity: %v", err)
	}
	if err := satisfies(t, m, enrol(t, org.app, pki.RoleClient), mspproto.MSPRole_CLIENT); err != nil {
		t.Error(err)
	}
}

// TestFiles loads the folder with Fabric's own loader and compares with the
// message that we build ourselves.
func TestFiles(t *testing.T) {
	org := newOrganisation(t)
	org.material.NodeOUs.Admin.Certificate = org.material.IntermediateCerts[1]
	crl, err := org.ops.CRL(nil, 1, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	org.material.CRLs = [][]byte{crl}
	dir := t.TempDir()
	files := org.material.Files()
	files["signcerts/cert.pem"] = enrol(t, org.ops, pki.RolePeer)
	for path, content := range files {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := realmsp.GetVerifyingMspConfig(dir, "BankaMSP", realmsp.ProviderTypeToString(realmsp.FABRIC))
	if err != nil {
		t.Fatal(err)
	}
	id, got, err := FromConfig(loaded)
	if err != nil {
		t.Fatal(err)
	}
	if id != "BankaMSP" {
		t.Errorf("id %q", id)
	}
	sortBlocks := cmp.Transformer("text", func(blocks [][]byte) map[string]bool {
		set := map[string]bool{}
		for _, b := range blocks {
			set[string(b)] = true
		}
		return set
	})
	if diff := cmp.Diff(org.material, got, sortBlocks); diff != "" {
		t.Error(diff)
	}
	judge(t, loaded, realmsp.MSPv1_4_3)
}

func TestConfigRoundTrip(t *testing.T) {
	org := newOrganisation(t)
	first, err := org.material.Config("BankaMSP")
	if err != nil {
		t.Fatal(err)
	}
	id, back, err := FromConfig(first)
	if err != nil || id != "BankaMSP" {
		t.Fatal(id, err)
	}
	if diff := cmp.Diff(org.material, back); diff != "" {
		t.Error(diff)
	}
	second, err := back.Config(id)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(first, second) {
		t.Error("the second message differs")
	}
	if _, err := (Material{}).Config("BankaMSP"); err == nil {
		t.Error("an MSP without a root was built")
	}
	if _, err := org.material.Config(""); err == nil {
		t.Error("an MSP without an id was built")
	}
	if _, _, err := FromConfig(&mspproto.MSPConfig{Type: 1}); err == nil {
		t.Error("an idemix MSP was read")
	}
	if got := len(back.TLSRoots()); got != 3 {
		t.Errorf("%d TLS roots, want 3", got)
	}
}

func FuzzFromConfig(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x0a\x03abc"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, material, err := FromConfig(&mspproto.MSPConfig{Config: raw})
		if err != nil || id == "" || len(material.CACerts) == 0 {
			return
		}
		config, err := material.Config(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, again, err := FromConfig(config); err != nil || len(again.CACerts) != len(material.CACerts) {
			t.Errorf("round trip: %v", err)
		}
	})
}
