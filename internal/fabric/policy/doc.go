// Package policy reads and writes signature policies in the notation that
// Fabric's tools use, such as OutOf(2, 'BankaMSP.peer', 'BankbMSP.peer'), and
// implicit meta policies such as MAJORITY Admins. Channel configurations and
// contract definitions both need it.
package policy
