'use strict';

const { createHash } = require('node:crypto');
const { Contract } = require('fabric-contract-api');

// The collection of collections.json: both organizations keep what is in it.
const prices = 'prices';

/**
 * OfferContract has offers that everybody on the channel sees, with prices that only the collection's members see.
 * Secrets come in transient data, which is not written to the ledger. Their hashes are, so each has a salt: without one,
 * whoever sees the hash could try all amounts.
 */
class OfferContract extends Contract {
  /** Offer makes an offer of the caller's organization at the price in the transient data. */
  async Offer(ctx, id) {
    const price = secret(ctx);
    const offer = { id: word('id', id), seller: ctx.clientIdentity.getMSPID() };
    if ((await ctx.stub.getState(id)).length > 0) {
      throw new Error(`offer "${id}" exists already`);
    }
    await ctx.stub.putPrivateData(prices, id, encode(price));
    await ctx.stub.putState(id, encode(offer));
    ctx.stub.setEvent('Offered', encode(offer));
    return offer;
  }

  /** Get returns what everybody sees of an offer. */
  async Get(ctx, id) {
    const { id: key, seller } = decode(await ctx.stub.getState(word('id', id)), `offer "${id}"`);
    return { id: key, seller };
  }

  /** Price returns the price of an offer, to members of the collection. */
  async Price(ctx, id) {
    await this.Get(ctx, id);
    const { amount, salt } = decode(await ctx.stub.getPrivateData(prices, id), `price of "${id}" here`);
    return { amount, salt };
  }

  /** Verify says whether the price in the transient data is the offer's: the hash is enough, so anybody may ask. */
  async Verify(ctx, id) {
    const told = createHash('sha256').update(encode(secret(ctx))).digest();
    const stored = Buffer.from(await ctx.stub.getPrivateDataHash(prices, word('id', id)));
    if (stored.length === 0) {
      throw new Error(`there is no offer "${id}"`);
    }
    return { id, matches: told.equals(stored) };
  }

  /**
   * SetLimit notes the most that the caller's organization would pay, on its own peers: every organization has such a
   * collection without a definition. Only that organization's peers can endorse it.
   */
  async SetLimit(ctx, id) {
    const limit = secret(ctx);
    await this.Get(ctx, id);
    await ctx.stub.putPrivateData(own(ctx), id, encode(limit));
  }

  /** Limit returns what the caller's organization noted; to be asked of its own peers. */
  async Limit(ctx, id) {
    const { amount, salt } = decode(await ctx.stub.getPrivateData(own(ctx), word('id', id)), `limit for "${id}" here`);
    return { amount, salt };
  }

  /** Withdraw ends an offer of the caller's organization; the price goes from the peers' history too. */
  async Withdraw(ctx, id) {
    const offer = await this.Get(ctx, id);
    if (offer.seller !== ctx.clientIdentity.getMSPID()) {
      throw new Error(`offer "${id}" is one of ${offer.seller}, which alone can withdraw it`);
    }
    await ctx.stub.purgePrivateData(prices, id);
    await ctx.stub.deleteState(id);
    ctx.stub.setEvent('Withdrawn', encode(offer));
  }
}

/** own is the collection of the caller's organization alone. */
function own(ctx) {
  return `_implicit_org_${ctx.clientIdentity.getMSPID()}`;
}

/** secret takes amount and salt from the transient data; errors must not repeat them. */
function secret(ctx) {
  const given = ctx.stub.getTransient();
  const text = name => Buffer.from(given.get(name) ?? []).toString();
  const amount = /^[0-9]+$/.test(text('amount')) ? Number(text('amount')) : NaN;
  if (!Number.isSafeInteger(amount)) {
    throw new Error(`transient "amount" is not a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }
  if (!/^[0-9a-f]{32,64}$/.test(text('salt'))) {
    throw new Error('transient "salt" is not 32 to 64 random hexadecimal digits');
  }
  return { amount, salt: text('salt') };
}

function word(name, text) {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) {
    throw new Error(`${name} "${text}" is not 1 to 64 letters, digits, dots, dashes and underscores`);
  }
  return text;
}

function decode(bytes, what) {
  if (bytes.length === 0) {
    throw new Error(`there is no ${what}`);
  }
  return JSON.parse(Buffer.from(bytes).toString());
}

function encode(value) {
  return Buffer.from(JSON.stringify(value));
}

module.exports.contracts = [OfferContract];
