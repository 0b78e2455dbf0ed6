'use strict';

const { Contract } = require('fabric-contract-api');

const maxPageSize = 100;

/**
 * CatalogContract finds items by what is in them. Its queries need CouchDB as the peers' state database; each has its
 * index below META-INF/statedb/couchdb/indexes.
 */
class CatalogContract extends Contract {
  /** Put adds an item or replaces it. */
  async Put(ctx, id, kind, maker, price) {
    const item = { id: word('id', id), kind: word('kind', kind), maker: word('maker', maker), price: whole('price', price) };
    await ctx.stub.putState(id, encode(item));
    ctx.stub.setEvent('ItemPut', encode(item));
    return item;
  }

  /** Get returns an item. */
  async Get(ctx, id) {
    const stored = await ctx.stub.getState(word('id', id));
    if (stored.length === 0) {
      throw new Error(`there is no item "${id}"`);
    }
    return decode(stored);
  }

  /** Remove takes an item off the catalog. */
  async Remove(ctx, id) {
    const item = await this.Get(ctx, id);
    await ctx.stub.deleteState(id);
    ctx.stub.setEvent('ItemRemoved', encode(item));
  }

  /** FindByPrice returns a page of the items of a kind that cost no more than maxPrice, cheapest first. */
  async FindByPrice(ctx, kind, maxPrice, pageSize, bookmark) {
    return find(ctx, {
      selector: { kind: word('kind', kind), price: { $lte: whole('maxPrice', maxPrice) } },
      sort: [{ kind: 'asc' }, { price: 'asc' }],
      use_index: ['_design/kind-price', 'kind-price'],
    }, pageSize, bookmark);
  }

  /** FindByMaker returns a page of a maker's items. */
  async FindByMaker(ctx, maker, pageSize, bookmark) {
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
async function find(ctx, query, pageSize, bookmark) {
  const size = whole('pageSize', pageSize);
  if (size < 1 || size > maxPageSize) {
    throw new Error(`pageSize ${size} is not between 1 and ${maxPageSize}`);
  }
  const { iterator, metadata } = await ctx.stub.getQueryResultWithPagination(JSON.stringify(query), size, bookmark);
  const items = [];
  for (let entry = await iterator.next(); !entry.done; entry = await iterator.next()) {
    items.push(decode(entry.value.value));
  }
  await iterator.close();
  return { items, bookmark: metadata.bookmark };
}

function word(name, text) {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) {
    throw new Error(`${name} "${text}" is not 1 to 64 letters, digits, dots, dashes and underscores`);
  }
  return text;
}

function whole(name, text) {
  const number = /^[0-9]+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(number)) {
    throw new Error(`${name} "${text}" is not a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }
  return number;
}

/** decode names the fields, as CouchDB returns them in an order of its own. */
function decode(bytes) {
  const { id, kind, maker, price } = JSON.parse(Buffer.from(bytes).toString());
  return { id, kind, maker, price };
}

function encode(value) {
  return Buffer.from(JSON.stringify(value));
}

module.exports.contracts = [CatalogContract];
