package samples

import "strings"

// salt as a client would draw it.
var salt = strings.Repeat("5a", 16)

func secret(amount string) map[string]string {
	return map[string]string{"amount": amount, "salt": salt}
}

// tables are the calls of each sample. A result that is followed by an event of the same payload stands in both.
func tables() map[string][]step {
	return map[string][]step{
		"asset": assetSteps(), "private": privateSteps(), "catalog": catalogSteps(), "keylevel": keylevelSteps(), "token": tokenSteps(),
	}
}

func assetSteps() []step {
	const made, moved, changed = `{"id":"a1","owner":"alice","value":7}`, `{"id":"a1","owner":"\u003cbob\u0026co\u003e","value":7}`, `{"id":"a1","owner":"carol","value":9}`
	return []step{
		{call: "Create a1 alice 7", want: made, event: "AssetCreated", payload: made},
		{call: "Create a1 bob 1", refused: true, want: "it exists already"},
		{call: "Create - bob 1", refused: true, want: "id is empty"},
		{call: "Create a2 - 1", refused: true, want: "owner is empty"},
		{call: "Create a2 bob -1", refused: true, want: "value -1 is negative"},
		{call: "Create a2 bob 1.5", refused: true, want: "1.5"},
		{call: "Create a2 " + strings.Repeat("é", 129) + " 1", refused: true, want: "owner has 258 bytes"},
		{by: bob, call: "Read a1", ask: true, want: made},
		{call: "Read a2", ask: true, refused: true, want: "there is none"},
		{by: bob, call: "Transfer a1 <bob&co>", want: moved, event: "AssetTransferred", payload: moved},
		{call: "Update a1 carol 9", want: changed, event: "AssetUpdated", payload: changed},
		{call: "Create a2 dave 0", want: `{"id":"a2","owner":"dave","value":0}`, event: "AssetCreated", payload: `{"id":"a2","owner":"dave","value":0}`},
		{call: "List 1 -", ask: true, want: `{"assets":[` + changed + `],"bookmark":"a2"}`},
		{call: "List 1 a2", ask: true, want: `{"assets":[{"id":"a2","owner":"dave","value":0}],"bookmark":""}`},
		{call: "List 0 -", ask: true, refused: true, want: "page size 0 is not between 1 and 1000"},
		{call: "Delete a1", event: "AssetDeleted", payload: changed},
		{call: "Delete a1", refused: true, want: "there is none"},
		{call: "Delete a2", event: "AssetDeleted", payload: `{"id":"a2","owner":"dave","value":0}`},
	}
}

func privateSteps() []step {
	const offer, price = `{"id":"o1","seller":"Org1MSP"}`, `{"amount":125,"salt":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"}`
	return []step{
		{call: "Offer o1", transient: secret("125"), want: offer, event: "Offered", payload: offer},
		{call: "Offer o1", transient: secret("125"), refused: true, want: "exists already"},
		{call: "Offer o2", refused: true, want: `transient "amount" is not a whole number`},
		{call: "Offer o2", transient: map[string]string{"amount": "1", "salt": "short"}, refused: true, want: `transient "salt" is not`},
		{call: "Offer o/2", transient: secret("1"), refused: true, want: `id "o/2" is not 1 to 64 letters`},
		{by: bob, call: "Get o1", ask: true, want: offer},
		{by: bob, call: "Price o1", ask: true, want: price},
		{call: "Price o2", ask: true, refused: true, want: `there is no offer "o2"`},
		{by: bob, call: "Verify o1", ask: true, transient: secret("125"), want: `{"id":"o1","matches":true}`},
		{by: bob, call: "Verify o1", ask: true, transient: secret("126"), want: `{"id":"o1","matches":false}`},
		{by: bob, call: "SetLimit o1", transient: secret("140"), endorsers: []string{"Org2MSP"}},
		{by: bob, call: "SetLimit o1", transient: secret("150"), endorsers: []string{"Org1MSP"}, refused: true, want: "ENDORSEMENT_POLICY_FAILURE"},
		{by: bob, call: "Limit o1", ask: true, want: strings.Replace(price, "125", "140", 1)},
		{call: "Limit o1", ask: true, refused: true, want: `there is no limit for "o1" here`},
		{by: bob, call: "Withdraw o1", refused: true, want: "one of Org1MSP, which alone can withdraw it"},
		{call: "Withdraw o1", event: "Withdrawn", payload: offer},
		{by: bob, call: "Get o1", ask: true, refused: true, want: `there is no offer "o1"`},
		{by: bob, call: "Verify o1", ask: true, transient: secret("125"), refused: true, want: `there is no offer "o1"`},
	}
}

func catalogSteps() []step {
	items := map[string]string{
		"i1": `{"id":"i1","kind":"bolt","maker":"acme","price":30}`, "i2": `{"id":"i2","kind":"bolt","maker":"acme","price":10}`,
		"i3": `{"id":"i3","kind":"bolt","maker":"omni","price":20}`, "i4": `{"id":"i4","kind":"nut","maker":"omni","price":5}`,
	}
	put := func(call string) step {
		item := items[strings.Fields(call)[1]]
		return step{call: call, want: item, event: "ItemPut", payload: item}
	}
	return []step{
		put("Put i1 bolt acme 30"), put("Put i2 bolt acme 10"), put("Put i3 bolt omni 20"), put("Put i4 nut omni 5"),
		{call: "Put i5 bolt acme -1", refused: true, want: "is not a whole number"},
		{call: `Put i5 {"$gt":null} acme 1`, refused: true, want: "is not 1 to 64 letters"},
		{by: bob, call: "Get i1", ask: true, want: items["i1"]},
		{call: "Get i5", ask: true, refused: true, want: `there is no item "i5"`},
		{call: "FindByPrice bolt 25 10 -", ask: true, want: `{"items":[` + items["i2"] + `,` + items["i3"] + `],"bookmark":"s2"}`},
		{call: "FindByPrice bolt 99 2 -", ask: true, want: `{"items":[` + items["i2"] + `,` + items["i3"] + `],"bookmark":"s2"}`},
		{call: "FindByPrice bolt 99 2 s2", ask: true, want: `{"items":[` + items["i1"] + `],"bookmark":"s3"}`},
		{call: "FindByPrice gear 99 2 -", ask: true, want: `{"items":[],"bookmark":"nil"}`},
		{by: bob, call: "FindByMaker acme 10 -", ask: true, want: `{"items":[` + items["i1"] + `,` + items["i2"] + `],"bookmark":"s2"}`},
		{call: "FindByMaker acme 101 -", ask: true, refused: true, want: "pageSize 101 is not between 1 and 100"},
		{call: "Remove i1", event: "ItemRemoved", payload: items["i1"]},
		{call: "Remove i1", refused: true, want: `there is no item "i1"`},
		{call: "FindByMaker acme 10 -", ask: true, want: `{"items":[` + items["i2"] + `],"bookmark":"s1"}`},
	}
}

func keylevelSteps() []step {
	title := func(plate, owner, offered string) string {
		return `{"id":"t1","plate":"` + plate + `","owner":"` + owner + `","offeredTo":"` + offered + `"}`
	}
	made, changed, offered, accepted := title("B-1", "Org1MSP", ""), title("B-2", "Org1MSP", ""), title("B-2", "Org1MSP", "Org2MSP"), title("B-2", "Org2MSP", "")
	return []step{
		{call: "Register t1 B-1", want: made, event: "TitleRegistered", payload: made},
		{call: "Register t1 B-1", refused: true, want: "exists already"},
		{by: bob, call: "Endorsers t1", ask: true, want: `["Org1MSP"]`},
		{call: "SetPlate t1 B-3", endorsers: []string{"Org2MSP"}, refused: true, want: "ENDORSEMENT_POLICY_FAILURE"},
		{call: "SetPlate t1 B-2", endorsers: []string{"Org1MSP"}, want: changed, event: "PlateChanged", payload: changed},
		{by: bob, call: "SetPlate t1 B-3", refused: true, want: "owned by Org1MSP, which alone can change it"},
		{by: bob, call: "Accept t1", refused: true, want: "is not offered to Org2MSP"},
		{call: "Offer t1 Org2MSP", want: offered, event: "TitleOffered", payload: offered},
		{by: bob, call: "Accept t1", want: accepted, event: "TitleAccepted", payload: accepted},
		{call: "Read t1", ask: true, want: accepted},
		{call: "Endorsers t1", ask: true, want: `["Org2MSP"]`},
		{call: "SetPlate t1 B-4", refused: true, want: "owned by Org2MSP"},
		{by: bob, call: "SetPlate t1 B-4", endorsers: []string{"Org1MSP"}, refused: true, want: "ENDORSEMENT_POLICY_FAILURE"},
		{by: bob, call: "SetPlate t1 B-1", want: title("B-1", "Org2MSP", ""), event: "PlateChanged", payload: title("B-1", "Org2MSP", "")},
		{call: "Read t2", ask: true, refused: true, want: `there is no title "t2"`},
	}
}

func tokenSteps() []step {
	const a, b = "Org1MSP/alice", "Org2MSP/bob"
	moved := func(by int, call, from, to, amount string) step {
		payload := `{"from":"` + from + `","to":"` + to + `","amount":` + amount + `}`
		return step{by: by, call: call, want: payload, event: "Transfer", payload: payload}
	}
	approved := func(call, amount string) step {
		payload := `{"owner":"` + a + `","spender":"` + b + `","amount":` + amount + `}`
		return step{call: call, want: payload, event: "Approval", payload: payload}
	}
	return []step{
		{call: "Account", ask: true, want: a},
		{by: bob, call: "Account", ask: true, want: b},
		{call: "TotalSupply", ask: true, want: "0"},
		moved(alice, "Mint 9007199254740991", "", a, "9007199254740991"),
		{call: "Mint 1", refused: true, want: "1 more would exceed 9007199254740991"},
		{by: bob, call: "Mint 1", refused: true, want: "lacks the attribute token.minter=true"},
		moved(alice, "Burn 9007199254740891", a, "", "9007199254740891"),
		{call: "Mint 0", refused: true, want: "is not a whole number from 1"},
		{call: "Mint 9007199254740992", refused: true, want: "is not a whole number from 1"},
		{call: "Mint 1e3", refused: true, want: "1e3"},
		moved(alice, "Transfer "+b+" 30", a, b, "30"),
		{by: bob, call: "BalanceOf " + a, ask: true, want: "70"},
		{call: "BalanceOf " + b, ask: true, want: "30"},
		{by: bob, call: "Transfer " + a + " 31", refused: true, want: b + " has 30 tokens, fewer than 31"},
		{call: "Transfer " + a + " 1", refused: true, want: "cannot transfer to itself"},
		{call: "Transfer nobody 1", refused: true, want: `to "nobody" is not an account`},
		approved("Approve "+b+" 0 20", "20"),
		{call: "Approve " + b + " 0 50", refused: true, want: "is 20 and not 0"},
		moved(bob, "TransferFrom "+a+" "+b+" 15", a, b, "15"),
		{by: bob, call: "TransferFrom " + a + " " + b + " 6", refused: true, want: "may move 5 tokens of " + a + ", not 6"},
		{call: "Allowance " + a + " " + b, ask: true, want: "5"},
		approved("Approve "+b+" 5 0", "0"),
		{call: "Allowance " + a + " " + b, ask: true, want: "0"},
		moved(alice, "Burn 55", a, "", "55"),
		moved(bob, "Burn 45", b, "", "45"),
		{call: "BalanceOf " + b, ask: true, want: "0"},
		{call: "TotalSupply", ask: true, want: "0"},
	}
}
