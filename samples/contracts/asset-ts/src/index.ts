import { Context, Contract, Info, Transaction } from 'fabric-contract-api';

const maxPageSize = 1000;
const maxTextLength = 256;

interface Asset {
  id: string;
  owner: string;
  value: number;
}

/** AssetContract keeps assets. Results are JSON, encoded here; see encode. */
@Info({ title: 'asset-ts', description: 'Assets with an owner and a value' })
export class AssetContract extends Contract {
  /** Create adds an asset; an existing id is refused. */
  @Transaction()
  async Create(ctx: Context, id: string, owner: string, value: string): Promise<string> {
    const asset = check('create', { id, owner, value: whole('value', value) });
    if ((await ctx.stub.getState(id)).length > 0) {
      throw new Error(`create asset "${id}": it exists already`);
    }
    return put(ctx, 'AssetCreated', asset);
  }

  /** Read returns an asset. */
  @Transaction(false)
  async Read(ctx: Context, id: string): Promise<string> {
    return encode(await get(ctx, id));
  }

  /** Update sets the owner and the value of an asset that exists. */
  @Transaction()
  async Update(ctx: Context, id: string, owner: string, value: string): Promise<string> {
    await get(ctx, id);
    return put(ctx, 'AssetUpdated', check('update', { id, owner, value: whole('value', value) }));
  }

  /** Transfer hands an asset to a new owner. */
  @Transaction()
  async Transfer(ctx: Context, id: string, owner: string): Promise<string> {
    const asset = await get(ctx, id);
    return put(ctx, 'AssetTransferred', check('transfer', { ...asset, owner }));
  }

  /** Delete removes an asset from the world state; its history stays on the ledger. */
  @Transaction()
  async Delete(ctx: Context, id: string): Promise<void> {
    const asset = await get(ctx, id);
    await ctx.stub.deleteState(id);
    ctx.stub.setEvent('AssetDeleted', Buffer.from(encode(asset)));
  }

  /**
   * List returns up to pageSize assets in the order of their ids. It is for evaluation only: Fabric refuses to write in
   * a transaction that reads pages.
   */
  @Transaction(false)
  async List(ctx: Context, pageSize: string, bookmark: string): Promise<string> {
    const size = whole('page size', pageSize);
    if (size < 1 || size > maxPageSize) {
      throw new Error(`list assets: page size ${size} is not between 1 and ${maxPageSize}`);
    }
    const { iterator, metadata } = await ctx.stub.getStateByRangeWithPagination('', '', size, bookmark);
    const assets: Asset[] = [];
    for (let entry = await iterator.next(); !entry.done; entry = await iterator.next()) {
      assets.push(decode(entry.value.value));
    }
    await iterator.close();
    return encode({ assets, bookmark: metadata.bookmark });
  }
}

async function get(ctx: Context, id: string): Promise<Asset> {
  if (id === '') {
    throw new Error('read asset: id is empty');
  }
  const stored = await ctx.stub.getState(id);
  if (stored.length === 0) {
    throw new Error(`read asset "${id}": there is none`);
  }
  return decode(stored);
}

async function put(ctx: Context, event: string, asset: Asset): Promise<string> {
  const encoded = encode(asset);
  await ctx.stub.putState(asset.id, Buffer.from(encoded));
  ctx.stub.setEvent(event, Buffer.from(encoded));
  return encoded;
}

/** check keeps what is stored readable by every later call. */
function check(verb: string, asset: Asset): Asset {
  for (const name of ['id', 'owner'] as const) {
    const text = asset[name];
    const bytes = Buffer.byteLength(text);
    if (text === '') {
      throw new Error(`${verb} asset: ${name} is empty`);
    }
    if (bytes > maxTextLength) {
      throw new Error(`${verb} asset: ${name} has ${bytes} bytes, more than ${maxTextLength}`);
    }
    // Bytes that were no UTF-8 have become this character before the contract sees them.
    if (text.includes('\ufffd')) {
      throw new Error(`${verb} asset: ${name} is not UTF-8`);
    }
  }
  // Fabric keeps keys that begin with this byte for composite keys.
  if (asset.id.startsWith('\0')) {
    throw new Error(`${verb} asset: id begins with a zero byte`);
  }
  if (asset.value < 0) {
    throw new Error(`${verb} asset: value ${asset.value} is negative`);
  }
  return asset;
}

/** whole reads a whole number: Number alone would take "1.5", "1e3" and "" too, and round what is too large. */
function whole(name: string, text: string): number {
  const number = /^[+-]?[0-9]+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(number)) {
    throw new Error(`${name} "${text}" is not a whole number`);
  }
  return number + 0; // no -0
}

/** decode names the fields, so that their order is always the same: every endorser has to write the same bytes. */
function decode(bytes: Uint8Array): Asset {
  const { id, owner, value } = JSON.parse(Buffer.from(bytes).toString()) as Asset;
  return { id, owner, value };
}

/** encode escapes what Go's encoder escapes: the Go and the Node contract may run side by side on one channel. */
function encode(value: object): string {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export const contracts = [AssetContract];
