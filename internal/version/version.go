// Package version says which build this is. The linker sets the one variable (-X); everything that names a version
// of Heddle itself, such as image tags and `heddle version`, takes it from here.
package version

// Version of Heddle, as the linker set it.
var Version = "dev" //nolint:gochecknoglobals // the linker can set variables only
