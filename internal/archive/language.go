package archive

import (
	"fmt"
	"slices"
	"strings"
)

// Language tells the language of the contract in a folder of a source; "" is its root. The names are those of
// ChaincodeBuild: Go, JavaScript, TypeScript, Java, Binary.
func Language(entries []Entry, folder string) (string, error) {
	where := "the source's root"
	prefix := ""
	if folder != "" && folder != "." {
		prefix = strings.TrimSuffix(folder, "/") + "/"
		where = fmt.Sprintf("folder %q", folder)
	}
	var here []Entry
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name, prefix); ok {
			e.Name = name
			here = append(here, e)
		}
	}
	if len(here) == 0 {
		return "", fmt.Errorf("tell the contract's language: %s has no files; name the folder that holds the contract", where)
	}
	fitting := languages(here)
	switch len(fitting) {
	case 1:
		return fitting[0], nil
	case 0:
		return "", fmt.Errorf("tell the contract's language: %s has none of go.mod, package.json, build.gradle, pom.xml, nor one Linux program named chaincode; "+
			"name the folder that holds the contract, or its language", where)
	}
	return "", fmt.Errorf("tell the contract's language: %s fits %s; name one of them", where, strings.Join(fitting, " and "))
}

func languages(here []Entry) []string {
	has := func(names ...string) bool {
		return slices.ContainsFunc(here, func(e Entry) bool { return slices.Contains(names, e.Name) })
	}
	var fitting []string
	if has("go.mod") {
		fitting = append(fitting, "Go")
	}
	switch {
	case has("package.json") && has("tsconfig.json"):
		fitting = append(fitting, "TypeScript")
	case has("package.json"):
		fitting = append(fitting, "JavaScript")
	}
	if has("build.gradle", "build.gradle.kts", "pom.xml") {
		fitting = append(fitting, "Java")
	}
	if program(here) {
		fitting = append(fitting, "Binary")
	}
	return fitting
}

// program says that there is a program named chaincode, and beside it at most what a contract's package carries.
func program(here []Entry) bool {
	programs := 0
	for _, e := range here {
		switch {
		case e.Name == "chaincode" && e.ELF:
			programs++
		case !strings.HasPrefix(e.Name, "META-INF/"):
			return false
		}
	}
	return programs == 1
}
