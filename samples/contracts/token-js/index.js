'use strict';

const { X509Certificate } = require('node:crypto');
const { Contract } = require('fabric-contract-api');

// Every client reads numbers up to this one exactly. No more tokens are made, so no sum can exceed it.
const most = Number.MAX_SAFE_INTEGER;
const supplyKey = 'supply';

/**
 * TokenContract is a fungible token. An account belongs to an enrolled identity and is named after it,
 * "<MSP ID>/<common name>"; it outlives the identity's certificates.
 */
class TokenContract extends Contract {
  /** Account returns the caller's account. */
  async Account(ctx) {
    return caller(ctx);
  }

  /** Mint makes tokens on the caller's account. It takes the attribute token.minter=true in the caller's certificate. */
  async Mint(ctx, amount) {
    const [to, n] = [caller(ctx), whole('amount', amount, 1)];
    if (!ctx.clientIdentity.assertAttributeValue('token.minter', 'true')) {
      throw new Error(`${to} may not mint: its certificate lacks the attribute token.minter=true`);
    }
    const supply = await read(ctx, supplyKey);
    if (n > most - supply) {
      throw new Error(`there are ${supply} tokens: ${n} more would exceed ${most}`);
    }
    await write(ctx, supplyKey, supply + n);
    await add(ctx, to, n);
    return moved(ctx, '', to, n);
  }

  /** Burn destroys tokens of the caller. */
  async Burn(ctx, amount) {
    const [from, n] = [caller(ctx), whole('amount', amount, 1)];
    await take(ctx, from, n);
    await write(ctx, supplyKey, await read(ctx, supplyKey) - n);
    return moved(ctx, from, '', n);
  }

  /** Transfer moves tokens of the caller. */
  async Transfer(ctx, to, amount) {
    return move(ctx, caller(ctx), to, whole('amount', amount, 1));
  }

  /**
   * Approve lets spender move up to amount of the caller's tokens. The caller says what the allowance is so far: one
   * that was partly spent meanwhile is not renewed by accident.
   */
  async Approve(ctx, spender, current, amount) {
    const owner = caller(ctx);
    const key = allowanceKey(ctx, owner, account('spender', spender));
    const [was, is] = [whole('current', current, 0), await read(ctx, key)];
    if (is !== was) {
      throw new Error(`allowance of ${spender} is ${is} and not ${was}`);
    }
    const approval = { owner, spender, amount: whole('amount', amount, 0) };
    await write(ctx, key, approval.amount);
    ctx.stub.setEvent('Approval', Buffer.from(JSON.stringify(approval)));
    return approval;
  }

  /** TransferFrom moves tokens of an account that has approved the caller. */
  async TransferFrom(ctx, from, to, amount) {
    const [spender, n] = [caller(ctx), whole('amount', amount, 1)];
    const key = allowanceKey(ctx, account('from', from), spender);
    const allowed = await read(ctx, key);
    if (n > allowed) {
      throw new Error(`${spender} may move ${allowed} tokens of ${from}, not ${n}`);
    }
    await write(ctx, key, allowed - n);
    return move(ctx, from, to, n);
  }

  /** BalanceOf returns what an account has. */
  async BalanceOf(ctx, name) {
    return read(ctx, balanceKey(ctx, account('account', name)));
  }

  /** Allowance returns what spender may still move of owner's tokens. */
  async Allowance(ctx, owner, spender) {
    return read(ctx, allowanceKey(ctx, account('owner', owner), account('spender', spender)));
  }

  /** TotalSupply returns how many tokens there are. */
  async TotalSupply(ctx) {
    return read(ctx, supplyKey);
  }
}

async function move(ctx, from, to, n) {
  // A contract does not see its own writes: of two to one account the first would be lost.
  if (account('to', to) === from) {
    throw new Error(`${from} cannot transfer to itself`);
  }
  await take(ctx, from, n);
  await add(ctx, to, n);
  return moved(ctx, from, to, n);
}

async function add(ctx, to, n) {
  const key = balanceKey(ctx, to);
  await write(ctx, key, await read(ctx, key) + n);
}

async function take(ctx, from, n) {
  const key = balanceKey(ctx, from);
  const balance = await read(ctx, key);
  if (n > balance) {
    throw new Error(`${from} has ${balance} tokens, fewer than ${n}`);
  }
  await write(ctx, key, balance - n);
}

/** moved tells of tokens that moved; from is empty for new ones, to for destroyed ones. */
function moved(ctx, from, to, amount) {
  const movement = { from, to, amount };
  ctx.stub.setEvent('Transfer', Buffer.from(JSON.stringify(movement)));
  return movement;
}

async function read(ctx, key) {
  return Number(Buffer.from(await ctx.stub.getState(key)).toString()); // nothing is zero
}

async function write(ctx, key, n) {
  await (n === 0 ? ctx.stub.deleteState(key) : ctx.stub.putState(key, Buffer.from(String(n))));
}

function balanceKey(ctx, name) {
  return ctx.stub.createCompositeKey('balance', [name]);
}

function allowanceKey(ctx, owner, spender) {
  return ctx.stub.createCompositeKey('allowance', [owner, spender]);
}

function caller(ctx) {
  const certificate = new X509Certificate(ctx.clientIdentity.getIDBytes());
  const names = certificate.subject.split('\n').filter(line => line.startsWith('CN='));
  return account('caller', `${ctx.clientIdentity.getMSPID()}/${names.at(-1)?.slice('CN='.length)}`);
}

function account(name, text) {
  if (!/^[A-Za-z0-9._-]{1,64}\/[A-Za-z0-9._@-]{1,64}$/.test(text)) {
    throw new Error(`${name} "${text}" is not an account: <MSP ID>/<common name>`);
  }
  return text;
}

function whole(name, text, least) {
  const number = /^[0-9]+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(number) || number < least) {
    throw new Error(`${name} "${text}" is not a whole number from ${least} to ${most}`);
  }
  return number;
}

module.exports.contracts = [TokenContract];
