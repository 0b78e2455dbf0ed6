package differential

import "regexp"

// classes say what a message means to those who read it by program, in the
// order of what to look for first. A message of no class has to be the same
// word for word; what a contract says is always compared.
var classes = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`chaincode response (\d+), (.*)`), "contract answers $1: $2"},
	{regexp.MustCompile(`(?i)duplicate transaction|already in the ledger`), "duplicate transaction"},
	{regexp.MustCompile(`(?i)identity expired|expired certificate`), "identity expired"},
	{regexp.MustCompile(`(?i)unmapped policy`), "no such function"},
	{regexp.MustCompile(`(?i)signature set did not satisfy policy|policy evaluation failed|policy .*not satisfied|permission denied|failed evaluating policy|failed ACL check`), "policy not satisfied"},
	{regexp.MustCompile(`(?i)access denied`), "access denied"},
	{regexp.MustCompile(`(?i)certificate required|bad certificate|unknown certificate authority`), "certificate refused"},
	{regexp.MustCompile(`(?i)incorrect timestamp`), "incorrect timestamp"},
	{regexp.MustCompile(`(?i)no combination of peers|failed constructing descriptor`), "no combination of endorsers"},
	{regexp.MustCompile(`(?i)no peers available|no endorsing peers|find any endorsing peers`), "no endorser available"},
	{regexp.MustCompile(`(?i)see attached details`), "see details"},
	{regexp.MustCompile(`(?i)must call as init first|has not been initialized`), "contract not initialised"},
	{regexp.MustCompile(`(?i)called as init`), "needless initialisation"},
	{regexp.MustCompile(`(?i)exists, but chaincode is not installed`), "contract not installed"},
	{regexp.MustCompile(`(?i)could not launch chaincode`), "contract not launched"},
	{regexp.MustCompile(`(?i)invoke of QSCC from another chaincode`), "no call of qscc"},
	// The life cycle.
	{regexp.MustCompile(`(?i)unchanged content`), "approved already"},
	{regexp.MustCompile(`(?i)redefine the current committed sequence|new definition must be sequence|(larger|lower) than (the next available|requested) sequence|first definable sequence`), "wrong sequence"},
	{regexp.MustCompile(`(?i)not agreed to by this org \((\w+)\)`), "not approved by $1"},
	{regexp.MustCompile(`(?i)could not fetch approved chaincode definition`), "not approved"},
	{regexp.MustCompile(`(?i)already successfully installed`), "installed already"},
	{regexp.MustCompile(`(?i)chaincode install package`), "bad package"},
	{regexp.MustCompile(`(?i)could not build chaincode`), "package cannot be built"},
	{regexp.MustCompile(`(?i)package id '.*'`), "package not found"},
	{regexp.MustCompile(`(?i)collection`), "bad collection"},
	{regexp.MustCompile(`(?i)name of a system chaincode|invalid chaincode name`), "bad name"},
	{regexp.MustCompile(`(?i)invalid chaincode version`), "bad version"},
	{regexp.MustCompile(`(?i)chaincode .* not found|namespace .* is not defined`), "contract not defined"},
	// Channels and blocks.
	{regexp.MustCompile(`(?i)no such block`), "no such block"},
	{regexp.MustCompile(`(?i)parse block number`), "bad block number"},
	{regexp.MustCompile(`(?i)already exists`), "channel exists"},
	{regexp.MustCompile(`(?i)could not get channel ?config|policy manager for channel|last config for channel|channel '?.*'? not found|channel does not exist|invalid chain id`), "channel not found"},
	{regexp.MustCompile(`(?i)invalid channel ID`), "bad channel name"},
	{regexp.MustCompile(`(?i)no channel id provided`), "no channel"},
	{regexp.MustCompile(`(?i)join block|extract channel id from the block`), "bad block to join by"},
	{regexp.MustCompile(`(?i)to version \d+, but key is at version \d+|be at version`), "stale config update"},
	{regexp.MustCompile(`(?i)ConfigUpdate for channel`), "config update for another channel"},
	{regexp.MustCompile(`(?i)would have no effect`), "config update without effect"},
	// HTTP.
	{regexp.MustCompile(`(?i)request method`), "wrong method"},
	{regexp.MustCompile(`(?i)content-type`), "wrong content type"},
	{regexp.MustCompile(`(?i)\bform\b`), "bad form"},
	// Whatever was sent.
	{regexp.MustCompile(`(?i)number of arguments|missing \w+ argument|invoked with arguments|exactly two arguments`), "wrong arguments"},
	{regexp.MustCompile(`(?i)is required|must contain a signed proposal|must be signed`), "something missing"},
	{regexp.MustCompile(`(?i)txid|transaction id`), "wrong transaction id"},
	{regexp.MustCompile(`(?i)epoch`), "epoch"},
	{regexp.MustCompile(`(?i)header type`), "wrong header type"},
	{regexp.MustCompile(`(?i)nonce`), "no nonce"},
	{regexp.MustCompile(`(?i)creator is empty`), "no creator"},
	{regexp.MustCompile(`(?i)header not set`), "no header"},
	{regexp.MustCompile(`(?i)ChaincodeHeaderExtension.ChaincodeId`), "no contract named"},
	{regexp.MustCompile(`(?i)did not contain`), "no input"},
	{regexp.MustCompile(`(?i)of type that`), "wrong type of message"},
	{regexp.MustCompile(`(?i)start position`), "bad start position"},
	{regexp.MustCompile(`(?i)signature`), "wrong signature"},
	{regexp.MustCompile(`(?i)unmarshal|cannot parse|wire-format|deserializ|invalid UTF-8`), "cannot be decoded"},
	{regexp.MustCompile(`(?i)exceeds maximum|too large`), "too large"},
}

func class(text string) string {
	for _, c := range classes {
		if match := c.pattern.FindStringSubmatchIndex(text); match != nil {
			return string(c.pattern.ExpandString(nil, c.name, text, match))
		}
	}
	return text
}
