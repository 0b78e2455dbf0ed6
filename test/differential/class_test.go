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
	{regexp.MustCompile(`(?i)signature set did not satisfy policy|policy evaluation failed|policy .*not satisfied|permission denied|failed evaluating policy`), "policy not satisfied"},
	{regexp.MustCompile(`(?i)access denied`), "access denied"},
	{regexp.MustCompile(`(?i)certificate required|bad certificate|unknown certificate authority`), "certificate refused"},
	{regexp.MustCompile(`(?i)incorrect timestamp`), "incorrect timestamp"},
	{regexp.MustCompile(`(?i)no combination of peers|failed constructing descriptor`), "no combination of endorsers"},
	{regexp.MustCompile(`(?i)no peers available|no endorsing peers|find any endorsing peers`), "no endorser available"},
	{regexp.MustCompile(`(?i)see attached details`), "see details"},
	{regexp.MustCompile(`(?i)must call as init first|has not been initialized`), "contract not initialised"},
	{regexp.MustCompile(`(?i)called as init`), "needless initialisation"},
	{regexp.MustCompile(`(?i)exists, but chaincode is not installed`), "contract not installed"},
	{regexp.MustCompile(`(?i)chaincode .* not found|namespace .* is not defined`), "contract not defined"},
	{regexp.MustCompile(`(?i)could not get channel config|policy manager for channel|last config for channel|channel '?.*'? not found`), "channel not found"},
	{regexp.MustCompile(`(?i)to version \d+, but key is at version \d+|be at version`), "stale config update"},
	{regexp.MustCompile(`(?i)txid|transaction id`), "wrong transaction id"},
	{regexp.MustCompile(`(?i)epoch`), "epoch"},
	{regexp.MustCompile(`(?i)header type`), "wrong header type"},
	{regexp.MustCompile(`(?i)nonce`), "no nonce"},
	{regexp.MustCompile(`(?i)creator is empty`), "no creator"},
	{regexp.MustCompile(`(?i)signature`), "wrong signature"},
	{regexp.MustCompile(`(?i)unmarshal|cannot parse|wire-format|deserializ`), "cannot be decoded"},
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
