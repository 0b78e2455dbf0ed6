package e2e

import "strings"

const item1 = `{"id":"i1","kind":"bolt","maker":"acme","price":30}`

// sampleCalls are calls of each sample that show what it is there for. test/samples has all of them, on bare processes.
func sampleCalls(network string) map[string][]transaction {
	return map[string][]transaction{
		"asset": assetCalls(), "private": privateCalls(), "catalog": catalogCalls(), "keylevel": keylevelCalls(), "token": tokenCalls(network),
	}
}

// byB makes a call that of the second organization's administrator.
func byB(flags ...string) []string { return append([]string{"--as", "bankb"}, flags...) }

func assetCalls() []transaction {
	const moved = `{"id":"a1","owner":"bob","value":7}`
	return []transaction{
		{submit: true, call: "Create a1 alice 7", want: `{"id":"a1","owner":"alice","value":7}`},
		{submit: true, call: "Create a1 bob 1", refused: true, want: "it exists already"},
		{submit: true, flags: byB(), call: "Transfer a1 bob", want: moved},
		{call: "Read a1", want: moved},
		{flags: byB(), call: "List 10 -", want: `{"assets":[` + moved + `],"bookmark":""}`},
	}
}

func privateCalls() []transaction {
	const offer = `{"id":"o1","seller":"BankAMSP"}`
	salt := strings.Repeat("5a", 16)
	secret := func(amount string, more ...string) []string {
		return append([]string{"--transient", "amount=" + amount, "--transient", "salt=" + salt}, more...)
	}
	return []transaction{
		{submit: true, flags: secret("125"), call: "Offer o1", want: offer},
		{flags: byB(), call: "Get o1", want: offer},
		{flags: byB(), call: "Price o1", want: `{"amount":125,"salt":"` + salt + `"}`},
		{flags: byB(secret("126")...), call: "Verify o1", want: `{"id":"o1","matches":false}`},
		{submit: true, flags: byB(secret("140", "--endorsers", "BankBMSP")...), call: "SetLimit o1"},
		{flags: byB(), call: "Limit o1", want: `{"amount":140,"salt":"` + salt + `"}`},
		{call: "Limit o1", refused: true, want: `there is no limit for "o1" here`},
		{submit: true, call: "Withdraw o1"},
		{flags: byB(), call: "Get o1", refused: true, want: `there is no offer "o1"`},
	}
}

func catalogCalls() []transaction {
	const item2, item3 = `{"id":"i2","kind":"bolt","maker":"acme","price":10}`, `{"id":"i3","kind":"bolt","maker":"omni","price":20}`
	return []transaction{
		{submit: true, call: "Put i1 bolt acme 30", want: item1},
		{submit: true, call: "Put i2 bolt acme 10", want: item2},
		{submit: true, flags: byB(), call: "Put i3 bolt omni 20", want: item3},
		{submit: true, call: "Put i4 nut omni 5", want: `{"id":"i4","kind":"nut","maker":"omni","price":5}`},
		// Sorted by an index of two fields, page by page.
		{call: "FindByPrice bolt 99 2 -", want: `{"items":[` + item2 + `,` + item3 + `],"bookmark":"…"}`},
		{flags: byB(), call: "FindByPrice bolt 99 2 @", want: `{"items":[` + item1 + `],"bookmark":"…"}`},
		{flags: byB(), call: "FindByPrice bolt 25 10 -", want: `{"items":[` + item2 + `,` + item3 + `],"bookmark":"…"}`},
		{call: "FindByMaker acme 10 -", want: `{"items":[` + item1 + `,` + item2 + `],"bookmark":"…"}`},
		{call: `FindByMaker {"$gt":null} 10 -`, refused: true, want: "is not 1 to 64 letters"},
	}
}

func keylevelCalls() []transaction {
	title := func(plate, owner, offered string) string {
		return `{"id":"t1","plate":"` + plate + `","owner":"` + owner + `","offeredTo":"` + offered + `"}`
	}
	return []transaction{
		{submit: true, call: "Register t1 B-1", want: title("B-1", "BankAMSP", "")},
		{flags: byB(), call: "Endorsers t1", want: `["BankAMSP"]`},
		{submit: true, flags: []string{"--endorsers", "BankBMSP"}, call: "SetPlate t1 B-3", refused: true, want: "ENDORSEMENT_POLICY_FAILURE"},
		{submit: true, flags: []string{"--endorsers", "BankAMSP"}, call: "SetPlate t1 B-2", want: title("B-2", "BankAMSP", "")},
		{submit: true, call: "Offer t1 BankBMSP", want: title("B-2", "BankAMSP", "BankBMSP")},
		{submit: true, flags: byB(), call: "Accept t1", want: title("B-2", "BankBMSP", "")},
		{call: "Endorsers t1", want: `["BankBMSP"]`},
		{submit: true, call: "SetPlate t1 B-4", refused: true, want: "owned by BankBMSP"},
	}
}

func tokenCalls(network string) []transaction {
	minter, user := "BankAMSP/"+network+".minter", "BankAMSP/"+network+".user"
	by := func(name string) []string { return []string{"--identity", name} }
	moved := func(from, to, amount string) string {
		return `{"from":"` + from + `","to":"` + to + `","amount":` + amount + `}`
	}
	return []transaction{
		{flags: by("minter"), call: "Account", want: minter},
		{submit: true, flags: by("user"), call: "Mint 1", refused: true, want: "lacks the attribute token.minter=true"},
		{submit: true, flags: by("minter"), call: "Mint 100", want: moved("", minter, "100")},
		{submit: true, flags: by("minter"), call: "Transfer " + user + " 30", want: moved(minter, user, "30")},
		{submit: true, flags: by("user"), call: "Transfer " + minter + " 31", refused: true, want: "fewer than 31"},
		{flags: byB(), call: "BalanceOf " + user, want: "30"},
		{flags: byB(), call: "TotalSupply", want: "100"},
	}
}
