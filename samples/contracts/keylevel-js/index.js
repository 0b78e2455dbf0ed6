'use strict';

const { Contract } = require('fabric-contract-api');
const { KeyEndorsementPolicy } = require('fabric-shim');

/**
 * TitleContract has the titles of vehicles, each owned by an organization. Every title carries an endorsement policy of
 * its own: a change is valid only if the owner's peers endorsed it, whatever the policy of the contract says.
 */
class TitleContract extends Contract {
  /** Register makes a title of the caller's organization. The contract's policy says who endorses: there is no key yet. */
  async Register(ctx, id, plate) {
    const title = { id: word('id', id), plate: word('plate', plate), owner: ctx.clientIdentity.getMSPID(), offeredTo: '' };
    if ((await ctx.stub.getState(id)).length > 0) {
      throw new Error(`title "${id}" exists already`);
    }
    await bind(ctx, title);
    return put(ctx, 'TitleRegistered', title);
  }

  /** Read returns a title. */
  async Read(ctx, id) {
    const stored = await ctx.stub.getState(word('id', id));
    if (stored.length === 0) {
      throw new Error(`there is no title "${id}"`);
    }
    const { id: key, plate, owner, offeredTo } = JSON.parse(Buffer.from(stored).toString());
    return { id: key, plate, owner, offeredTo };
  }

  /** Endorsers returns the organizations whose peers have to endorse a change of the title. */
  async Endorsers(ctx, id) {
    await this.Read(ctx, id);
    const policy = new KeyEndorsementPolicy(await ctx.stub.getStateValidationParameter(id));
    return policy.listOrgs().sort();
  }

  /** SetPlate gives the vehicle another plate. */
  async SetPlate(ctx, id, plate) {
    const title = owned(ctx, await this.Read(ctx, id));
    return put(ctx, 'PlateChanged', { ...title, plate: word('plate', plate) });
  }

  /** Offer names the organization that may become the owner. */
  async Offer(ctx, id, mspID) {
    const title = owned(ctx, await this.Read(ctx, id));
    return put(ctx, 'TitleOffered', { ...title, offeredTo: word('mspID', mspID) });
  }

  /**
   * Accept makes the caller's organization the owner of a title that was offered to it. The old owner's peers endorse
   * this last change. That the new owner has to call keeps a title from going to an organization that does not exist:
   * nobody could ever change it again.
   */
  async Accept(ctx, id) {
    const title = await this.Read(ctx, id);
    const caller = ctx.clientIdentity.getMSPID();
    if (title.offeredTo !== caller) {
      throw new Error(`title "${id}" is not offered to ${caller}`);
    }
    const accepted = { ...title, owner: caller, offeredTo: '' };
    await bind(ctx, accepted);
    return put(ctx, 'TitleAccepted', accepted);
  }
}

/** bind makes the owner's peers the ones that have to endorse from the next transaction on. */
async function bind(ctx, title) {
  const policy = new KeyEndorsementPolicy();
  policy.addOrgs('PEER', title.owner);
  await ctx.stub.setStateValidationParameter(title.id, policy.getPolicy());
}

/** owned lets the owner's clients pass: the policy says whose peers agree, not who may ask them. */
function owned(ctx, title) {
  if (title.owner !== ctx.clientIdentity.getMSPID()) {
    throw new Error(`title "${title.id}" is owned by ${title.owner}, which alone can change it`);
  }
  return title;
}

async function put(ctx, event, title) {
  await ctx.stub.putState(title.id, encode(title));
  ctx.stub.setEvent(event, encode(title));
  return title;
}

function word(name, text) {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) {
    throw new Error(`${name} "${text}" is not 1 to 64 letters, digits, dots, dashes and underscores`);
  }
  return text;
}

function encode(value) {
  return Buffer.from(JSON.stringify(value));
}

module.exports.contracts = [TitleContract];
