// A client of the sample contract private. It takes two folders of identities: a seller and a buyer, of two
// organizations.
import { randomBytes } from 'node:crypto';
import { refused, run, type User } from './connect.js';

void run<[User, User]>('private', 2, async ([seller, buyer], id) => {
  const [price, limit] = [secret('125'), secret('140')];
  await seller.submit('Offer', [id], { transient: price });
  await buyer.hears('Offered', seller);
  await buyer.evaluate('Get', [id]);
  await buyer.evaluate('Price', [id]);
  await buyer.evaluate('Verify', [id], { transient: price });
  // Only peers of the buyer have its collection, so only they can endorse.
  await buyer.submit('SetLimit', [id], { transient: limit, endorsers: [buyer.mspID] });
  await buyer.evaluate('Limit', [id]);
  await refused(seller.evaluate('Limit', [id]));
  await seller.submit('Withdraw', [id]);
});

/** secret is an amount with the salt that hides it in its hash. */
function secret(amount: string): Record<string, string> {
  return { amount, salt: randomBytes(16).toString('hex') };
}
