package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"heddle.dev/heddle/api/v1alpha1"
)

// orgFlag is one value of --org: name[:mspID][:peers=N][:orderers=N].
type orgFlag struct {
	name     string
	mspID    string
	peers    int32
	orderers int32
}

var (
	orgName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$`)
	orgMSP  = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)
)

// parseOrg reads one value of --org. One peer and no orderer are the defaults.
func parseOrg(s string) (orgFlag, error) {
	parts := strings.Split(s, ":")
	o := orgFlag{name: parts[0], mspID: defaultMSPID(parts[0]), peers: 1}
	if !orgName.MatchString(o.name) {
		return orgFlag{}, fmt.Errorf("--org %q: the name %q must be a lower-case DNS label of at most 24 characters that starts with a letter", s, o.name)
	}
	for i, part := range parts[1:] {
		key, value, isCount := strings.Cut(part, "=")
		switch {
		case !isCount && i == 0 && orgMSP.MatchString(part):
			o.mspID = part
		case isCount && key == "peers":
			n, err := parseCount(value, 64)
			if err != nil {
				return orgFlag{}, fmt.Errorf("--org %q: peers: %w", s, err)
			}
			o.peers = n
		case isCount && key == "orderers":
			n, err := parseCount(value, 32)
			if err != nil {
				return orgFlag{}, fmt.Errorf("--org %q: orderers: %w", s, err)
			}
			o.orderers = n
		default:
			return orgFlag{}, fmt.Errorf("--org %q: do not know %q: the form is name[:mspID][:peers=N][:orderers=N]", s, part)
		}
	}
	return o, nil
}

func parseCount(s string, most int64) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%q is not a number from 0 to %d", s, most)
	}
	return int32(n), nil
}

// defaultMSPID makes BankAMSP of bank-a.
func defaultMSPID(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		for i, r := range word {
			if i == 0 {
				r = unicode.ToUpper(r)
			}
			b.WriteRune(r)
		}
	}
	return b.String() + "MSP"
}

// organizationsOf turns --org and --orderers into the spec's list. Where no --org runs an orderer, an organisation
// named "ordering" of its own runs them, as most networks have it.
func organizationsOf(values []string, orderers int32) ([]v1alpha1.NetworkOrganization, error) {
	var flags []orgFlag
	total := int32(0)
	for _, v := range values {
		f, err := parseOrg(v)
		if err != nil {
			return nil, withCode(ExitUsage, err)
		}
		for _, other := range flags {
			if other.name == f.name || other.mspID == f.mspID {
				return nil, usageErrorf("--org %q: the name or MSP ID is the same as that of --org %s:%s", v, other.name, other.mspID)
			}
		}
		total += f.orderers
		flags = append(flags, f)
	}
	if total == 0 {
		flags = append(flags, orgFlag{name: orderingOrg, mspID: defaultMSPID(orderingOrg), orderers: orderers})
	}
	list := make([]v1alpha1.NetworkOrganization, 0, len(flags))
	for i, f := range flags {
		if f.name == orderingOrg && i < len(values) && total == 0 {
			return nil, usageErrorf("--org %s: the name is kept for the organisation that runs the orderers: "+
				"add :orderers=N to an --org, or choose another name", orderingOrg)
		}
		list = append(list, f.organization())
	}
	return list, nil
}

// orderingOrg is the organisation that runs the orderers where nobody else does.
const orderingOrg = "ordering"

func (f orgFlag) organization() v1alpha1.NetworkOrganization {
	o := v1alpha1.NetworkOrganization{
		Name:             f.name,
		OrganizationSpec: v1alpha1.OrganizationSpec{MSPID: f.mspID},
	}
	if f.peers > 0 && f.name != orderingOrg {
		o.Peers = &v1alpha1.NetworkPeers{Count: &f.peers}
	} else {
		// Without peers there are no applications that would enrol.
		o.CA.Mode = v1alpha1.CANone
	}
	if f.orderers > 0 {
		o.Orderers = &v1alpha1.NetworkOrderers{Count: &f.orderers}
	}
	return o
}
