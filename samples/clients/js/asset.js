// A client of the sample contract asset. It takes the folder of an identity.
'use strict';

const { refused, run } = require('./connect.js');

run('asset', 1, async ([user], id) => {
  await user.submit('Create', [id, 'alice', '7']);
  await user.submit('Transfer', [id, 'bob']);
  await user.submit('Update', [id, 'bob', '9']);
  await user.evaluate('Read', [id]);
  await user.evaluate('List', ['10', '']);
  await user.submit('Delete', [id]);
  await refused(user.evaluate('Read', [id]));
});
