// A client of the sample contract catalog. It takes the folder of an identity.
import { run, type User } from './connect.js';

void run<[User]>('catalog', 1, async ([user], id) => {
  const kind = `kind-${id}`;
  await user.submit('Put', [`${id}-1`, kind, 'acme', '30']);
  await user.submit('Put', [`${id}-2`, kind, 'acme', '10']);
  await user.submit('Put', [`${id}-3`, kind, 'bolt', '20']);
  // Two pages of two: the bookmark of the first leads to the second.
  const { bookmark } = JSON.parse(await user.evaluate('FindByPrice', [kind, '30', '2', ''])) as { bookmark: string };
  await user.evaluate('FindByPrice', [kind, '30', '2', bookmark]);
  await user.evaluate('FindByMaker', ['bolt', '10', '']);
  for (const n of [1, 2, 3]) {
    await user.submit('Remove', [`${id}-${n}`]);
  }
});
