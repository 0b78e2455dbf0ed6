import { Context, Contract, Info, Transaction } from 'fabric-contract-api';

const maxPageSize = 100;

interface Item {
  id: string;
  kind: string;
  maker: string;
  price: number;
}

/** Page is one part of what was found. Bookmark goes into the call for the next part. */
interface Page {
  items: Item[];
  bookmark: string;
}

/**
 * CatalogContract finds items by what is in them. Its queries need CouchDB as the peers' state database; each has its
 * index below META-INF/statedb/couchdb/indexes.
 */
@Info({ title: 'catalog-ts', description: 'Items found by rich queries' })
export class CatalogContract extends Contract {
  /** Put adds an item or replaces it. */
  @Transaction()
  async Put(ctx: Context, id: string, kind: string, maker: string, price: string): Promise<Item> {
    const item = { id: word('id', id), kind: word('kind', kind), maker: word('maker', maker), price: whole('price', price) };
    await ctx.stub.putState(id, encode(item));
    ctx.stub.setEvent('ItemPut', encode(item));
    return item;
  }

  /** Get returns an item. */
  @Transaction(false)
  async Get(ctx: Context, id: string): Promise<Item> {
    const stored = await ctx.stub.getState(word('id', id));
    if (stored.length === 0) {
      throw new Error(`there is no item "${id}"`);
    }
    return decode(stored);
  }

  /** Remove takes an item off the catalog. */
  @Transaction()
  async Remove(ctx: Context, id: string): Promise<void> {
    const item = await this.Get(ctx, id);
    await ctx.stub.deleteState(id);
    ctx.stub.setEvent('ItemRemoved', encode(item));
  }

  /** FindByPrice returns a page of the items of a kind that cost no more than maxPrice, cheapest first. */
  @Transaction(false)
  async FindByPrice(ctx: Context, kind: string, maxPrice: string, pageSize: string, bookmark: string): Promise<Page> {
    return find(ctx, {
      selector: { kind: word('kind', kind), price: { $lte: whole('maxPrice', maxPrice) } },
      sort: [{ kind: 'asc' }, { price: 'asc' }],
      use_index: ['_design/kind-price', 'kind-price'],
    }, pageSize, bookmark);
  }

  /** FindByMaker returns a page of a maker's items. */
  @Transaction(false)
  async FindByMaker(ctx: Context, maker: string, pageSize: string, bookmark: string): Promise<Page> {
    return find(ctx, {
      selector: { maker: word('maker', maker) },
      use_index: ['_design/maker', 'maker'],
    }, pageSize, bookmark);
  }
}

/**
 * find is for evaluation only: what a rich query found is not checked again when the transaction commits. The query is
 * encoded, never joined from texts: an argument cannot become a part of it.
 */
async function find(ctx: Context, query: object, pageSize: string, bookmark: string): Promise<Page> {
  const size = whole('pageSize', pageSize);
  if (size < 1 || size > maxPageSize) {
    throw new Error(`pageSize ${size} is not between 1 and ${maxPageSize}`);
  }
  const { iterator, metadata } = await ctx.stub.getQueryResultWithPagination(JSON.stringify(query), size, bookmark);
  const items: Item[] = [];
  for (let entry = await iterator.next(); !entry.done; entry = await iterator.next()) {
    items.push(decode(entry.value.value));
  }
  await iterator.close();
  return { items, bookmark: metadata.bookmark };
}

function word(name: string, text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) {
    throw new Error(`${name} "${text}" is not 1 to 64 letters, digits, dots, dashes and underscores`);
  }
  return text;
}

function whole(name: string, text: string): number {
  const number = /^[0-9]+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(number)) {
    throw new Error(`${name} "${text}" is not a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }
  return number;
}

/** decode names the fields, as CouchDB returns them in an order of its own. */
function decode(bytes: Uint8Array): Item {
  const { id, kind, maker, price } = JSON.parse(Buffer.from(bytes).toString()) as Item;
  return { id, kind, maker, price };
}

function encode(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export const contracts = [CatalogContract];
