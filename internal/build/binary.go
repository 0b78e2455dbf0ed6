package build

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
)

// programLimit bounds a static program.
const programLimit = 512 << 20

// checkProgram makes sure that a program runs in an image that holds nothing else.
func checkProgram(root *os.Root, name string) error {
	file, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	defer file.Close()
	parsed, err := elf.NewFile(file)
	if err != nil {
		return faulty("The file chaincode is no Linux program (ELF): %v", err)
	}
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	switch {
	case parsed.OSABI != elf.ELFOSABI_NONE && parsed.OSABI != elf.ELFOSABI_LINUX:
		return faulty("The program is for %s, not for Linux", parsed.OSABI)
	case parsed.Machine != machine:
		return faulty("The program is for %s, the platform's machines are %s", parsed.Machine, machine)
	case parsed.Type != elf.ET_EXEC && parsed.Type != elf.ET_DYN:
		return faulty("The file chaincode is no program but a %s", parsed.Type)
	}
	libraries, err := parsed.ImportedLibraries()
	if err != nil {
		return faulty("The file chaincode is a broken program: %v", err)
	}
	for _, segment := range parsed.Progs {
		if segment.Type == elf.PT_INTERP || len(libraries) > 0 {
			return faulty("The program needs shared libraries: link it statically (for Go: CGO_ENABLED=0)")
		}
	}
	return nil
}

// collectBinary copies the program that the source holds.
func collectBinary(c *compilation) error {
	if err := checkProgram(c.root, "chaincode"); err != nil {
		return err
	}
	name := path.Join(layerFolder, "0", programPath)
	if err := c.out.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	from, err := c.root.Open("chaincode")
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	defer from.Close()
	to, err := c.out.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	size, err := io.Copy(to, io.LimitReader(from, programLimit+1))
	if err != nil {
		_ = to.Close()
		return fmt.Errorf("copy program: %w", err)
	}
	if err := to.Close(); err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	if size > programLimit {
		return faulty("The program has more than %d bytes", int64(programLimit))
	}
	return c.useProgram(name)
}
