package e2e

import (
	"slices"
	"strings"
)

// Shard is a named part of the suite that takes at most half an hour on two cores.
type Shard struct {
	Name  string
	Tests []string
}

// Shards are all parts of the suite. Every test is in exactly one of them, which a test checks.
var Shards = []Shard{ //nolint:gochecknoglobals // a constant table
	{Name: "kinds", Tests: []string{"TestOneOfEachKind"}},
	{Name: "networks", Tests: []string{"TestRaft3", "TestBFT4", "TestTwoNetworks", "TestTwoChannels", "TestRetention"}},
	{Name: "changes", Tests: []string{"TestAddPeer", "TestAddOrganization", "TestRaftGrowsAndShrinks", "TestSettingRolls"}},
	{Name: "users", Tests: []string{"TestApplicationUser", "TestBadInput"}},
	{Name: "operator", Tests: []string{"TestOperatorKilledAfterFirstJoin", "TestOperatorRestartedAtEachPhase", "TestDrift", "TestFailingStepIsShown"}},
	{Name: "healing", Tests: []string{"TestContainersKilled", "TestObjectsDeleted", "TestCouchDBSidecar"}},
	{Name: "leaders", Tests: []string{"TestRaftLeaderKilled", "TestBFTLeaderKilled"}},
	{Name: "drain", Tests: []string{"TestDrain"}},
	{Name: "contracts", Tests: []string{"TestContractFromSource", "TestContractAsService", "TestDevelop"}},
	{Name: "samples", Tests: []string{"TestSamples", "TestContractsOfOthers"}},
	{Name: "links", Tests: []string{"TestLinkDataPath"}},
	{Name: "sites", Tests: []string{"TestNetworkOverSites", "TestThreeSites"}},
	{Name: "consenters", Tests: []string{"TestBFTOverSites", "TestRaftOverSites"}},
	{Name: "linksecurity", Tests: []string{"TestLinkSecurity"}},
	{Name: "linkfaults", Tests: []string{"TestLinkUnderFaults"}},
	{Name: "linkcuts", Tests: []string{"TestLinkCut"}},
	{Name: "faults", Tests: []string{
		"TestFaultyContract", "TestContractDeletedUnderCall", "TestRegistryDown", "TestLifecycleInterrupted", "TestTwoDeploysAtOnce", "TestPeerReplaced",
		"TestContractIsolated", "TestBadSource", "TestBadUpload", "TestHostileBuild",
	}},
}

// Pattern turns a choice into a pattern for test names: the name of a shard, "today" for the one whose turn it is, or
// a pattern as it is. Names of several shards are separated by commas.
func Pattern(choice string, dayOfYear int) string {
	if choice == "today" {
		return anyOf(Shards[dayOfYear%len(Shards)].Tests)
	}
	var tests []string
	for name := range strings.SplitSeq(choice, ",") {
		i := slices.IndexFunc(Shards, func(s Shard) bool { return s.Name == name })
		if i < 0 {
			return choice
		}
		tests = append(tests, Shards[i].Tests...)
	}
	return anyOf(tests)
}

func anyOf(tests []string) string {
	return "^(" + strings.Join(tests, "|") + ")$"
}
