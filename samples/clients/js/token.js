// A client of the sample contract token. It takes two folders of identities: a minter, whose certificate has the
// attribute token.minter=true, and a second user.
'use strict';

const { refused, run } = require('./connect.js');

run('token', 2, async ([minter, user]) => {
  const from = await minter.evaluate('Account', []);
  const to = await user.evaluate('Account', []);
  await minter.submit('Mint', ['100']);
  await minter.submit('Transfer', [to, '30']);
  const allowance = await minter.evaluate('Allowance', [from, to]);
  await minter.submit('Approve', [to, allowance, '20']);
  await user.hears('Approval', minter);
  await user.submit('TransferFrom', [from, to, '15']);
  await refused(user.submit('TransferFrom', [from, to, '6']));
  await refused(user.submit('Mint', ['1']));
  await minter.submit('Burn', ['55']);
  await user.submit('Burn', ['45']);
  await minter.hears('Transfer', user);
  await minter.evaluate('BalanceOf', [from]);
  await minter.evaluate('BalanceOf', [to]);
  await minter.evaluate('TotalSupply', []);
});
