// One transaction of Caliper's: creates an asset, or reads one that the first
// round has created.
'use strict';

const { WorkloadModuleBase } = require('@hyperledger/caliper-core');

class Assets extends WorkloadModuleBase {
  async initializeWorkloadModule(...args) {
    await super.initializeWorkloadModule(...args);
    this.count = 0;
  }

  async submitTransaction() {
    const create = this.roundArguments.function === 'Create';
    const id = `caliper-${this.workerIndex}-${create ? this.count++ : this.count++ % 50}`;
    await this.sutAdapter.sendRequests({
      contractId: 'asset', contractFunction: this.roundArguments.function,
      contractArguments: create ? [id, 'caliper', '1'] : [id], readOnly: !create,
    });
  }
}

module.exports.createWorkloadModule = () => new Assets();
