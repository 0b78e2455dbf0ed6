package lifecycle

import "testing"

func TestKnown(t *testing.T) {
	c := New(Options{})
	key, one := knownKey{"demo", "asset"}, &Local{PackageID: "asset:1"}
	known := func() bool {
		got, ok, _ := c.known.local(key)
		if ok && got != one {
			t.Fatalf("another contract is known: %+v", got)
		}
		return ok
	}
	_, _, generation := c.known.local(key)
	if c.known.keepLocal(key, one, generation); !known() {
		t.Error("a contract that was looked up is not known")
	}
	if c.known.locals[knownKey{"second", "asset"}] != nil {
		t.Error("it is known on another channel")
	}
	done := c.Changing()
	if known() {
		t.Error("it is known while records change")
	}
	_, _, during := c.known.local(key)
	if c.known.keepLocal(key, one, during); known() {
		t.Error("what is looked up during a change is kept")
	}
	done()
	if c.known.keepLocal(key, one, generation); known() {
		t.Error("what was looked up before a change is kept after it")
	}
	_, _, generation = c.known.local(key)
	if c.known.keepLocal(key, one, generation); !known() {
		t.Error("nothing is kept after a change")
	}
}
