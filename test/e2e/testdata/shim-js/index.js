'use strict';

const shim = require('fabric-shim');

class Notes {
  async Init() {
    return shim.success();
  }

  async Invoke(stub) {
    const { fcn, params } = stub.getFunctionAndParameters();
    if (fcn === 'Put') {
      await stub.putState(params[0], Buffer.from(params[1]));
      return shim.success();
    }
    const text = await stub.getState(params[0]);
    if (text.length === 0) {
      return shim.error(`note ${params[0]} does not exist`);
    }
    return shim.success(text);
  }
}

shim.start(new Notes());
