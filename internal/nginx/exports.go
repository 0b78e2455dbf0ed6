package nginx

import "strings"

// exportsBegin is how the template link.conf begins the map of what is exported.
const exportsBegin = "map $ssl_preread_server_name $node {"

// Exports reads back what a link's configuration exports; that of a gateway has none.
func Exports(config string) []Route {
	_, rest, ok := strings.Cut(config, exportsBegin)
	if !ok {
		return nil
	}
	block, _, ok := strings.Cut(rest, "}")
	if !ok {
		return nil
	}
	var out []Route
	for line := range strings.Lines(block) {
		fields := strings.Fields(strings.TrimSuffix(strings.TrimSpace(line), ";"))
		if len(fields) == 2 && fields[0] != "default" && name.MatchString(fields[0]) && checkAddress(fields[1]) == nil {
			out = append(out, Route{SNI: fields[0], To: fields[1]})
		}
	}
	return out
}
