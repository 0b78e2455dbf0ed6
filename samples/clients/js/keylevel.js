// A client of the sample contract keylevel. It takes two folders of identities: an owner and a buyer, of two
// organizations.
'use strict';

const { refused, run } = require('./connect.js');

run('keylevel', 2, async ([owner, buyer], id) => {
  await owner.submit('Register', [id, 'B-1']);
  await owner.evaluate('Endorsers', [id]);
  // The owner alone can endorse, and nobody can in its place.
  await owner.submit('SetPlate', [id, 'B-2'], { endorsers: [owner.mspID] });
  await refused(owner.submit('SetPlate', [id, 'B-2'], { endorsers: [buyer.mspID] }));
  await owner.submit('Offer', [id, buyer.mspID]);
  await buyer.hears('TitleOffered', owner);
  await buyer.submit('Accept', [id]);
  await buyer.evaluate('Read', [id]);
  await buyer.evaluate('Endorsers', [id]);
});
