'use strict';

const { Contract } = require('fabric-contract-api');

class Notes extends Contract {
  async Put(ctx, key, text) {
    await ctx.stub.putState(key, Buffer.from(text));
  }

  async Get(ctx, key) {
    const text = await ctx.stub.getState(key);
    if (!text || text.length === 0) {
      throw new Error(`note ${key} does not exist`);
    }
    return text.toString();
  }
}

module.exports.contracts = [Notes];
