// What an application in Node does with a network: the gateway client that
// Fabric's own project publishes, unchanged. Prints one line for each check and
// ends with 1 if one failed. The network is in the file that is named first.
'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');
const { connect, hash, signers, CommitError, EndorseError, GatewayError } = require('@hyperledger/fabric-gateway');

const net = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const utf8 = new TextDecoder();
const json = bytes => JSON.parse(utf8.decode(bytes));
const deadline = seconds => () => ({ deadline: Date.now() + 1000 * seconds });

function open(peer) {
  const client = new grpc.Client(peer.address, grpc.credentials.createSsl(Buffer.from(peer.roots)), {
    'grpc.ssl_target_name_override': 'localhost',
  });
  const gateway = connect({
    client,
    identity: { mspId: peer.mspID, credentials: Buffer.from(peer.cert) },
    signer: signers.newPrivateKeySigner(crypto.createPrivateKey(peer.key)),
    hash: hash.sha256,
    evaluateOptions: deadline(5), endorseOptions: deadline(15), submitOptions: deadline(5), commitStatusOptions: deadline(30),
  });
  return { gateway, network: gateway.getNetwork(net.channel), close: () => { gateway.close(); client.close(); } };
}

const a = open(net.peers[0]);
const b = open(net.peers[1]);
const contract = a.network.getContract(net.contract);
const id = `node-${crypto.randomUUID()}`;

const checks = {
  'submit and read': async () => {
    const made = json(await contract.submitTransaction('Create', id, 'alice', '5'));
    assert.deepEqual(made, { id, owner: 'alice', value: 5 });
    assert.deepEqual(json(await contract.evaluateTransaction('Read', id)), made);
  },
  'read at the other organisation': async () => {
    const read = json(await b.network.getContract(net.contract).evaluateTransaction('Read', id));
    assert.equal(read.owner, 'alice');
  },
  'submit without waiting': async () => {
    const commit = await contract.submitAsync('Transfer', { arguments: [id, 'bob'] });
    assert.equal(json(commit.getResult()).owner, 'bob');
    const status = await commit.getStatus();
    assert.equal(status.successful, true);
    assert.equal(status.code, 0);
    assert.ok(status.blockNumber > 0n);
  },
  'sign offline': async () => {
    const proposal = contract.newProposal('Transfer', { arguments: [id, 'carol'] });
    const transaction = await a.gateway.newProposal(proposal.getBytes()).endorse();
    const commit = await a.gateway.newTransaction(transaction.getBytes()).submit();
    assert.equal((await a.gateway.newCommit(commit.getBytes()).getStatus()).successful, true);
  },
  'refused by the contract': async () => {
    await assert.rejects(contract.submitTransaction('Create', id, 'mallory', '1'), error => {
      assert.ok(error instanceof EndorseError);
      assert.equal(error.code, grpc.status.ABORTED);
      assert.ok(error.details.length > 0 && error.details[0].message.includes('it exists already'));
      return true;
    });
    await assert.rejects(contract.evaluateTransaction('Read', 'nothing'), error => error instanceof GatewayError && error.code === grpc.status.UNKNOWN);
  },
  'conflict': async () => {
    const rivals = [];
    for (const owner of ['dave', 'erin']) {
      rivals.push(await contract.newProposal('Transfer', { arguments: [id, owner] }).endorse());
    }
    const first = await (await rivals[0].submit()).getStatus();
    assert.equal(first.successful, true);
    const second = await (await rivals[1].submit()).getStatus();
    assert.equal(second.code, 11); // MVCC_READ_CONFLICT
  },
  'too few endorsers': async () => {
    await assert.rejects(contract.submit('Transfer', { arguments: [id, 'mallory'], endorsingOrganizations: [net.peers[0].mspID] }), error => {
      assert.ok(error instanceof CommitError);
      assert.equal(error.code, 10); // ENDORSEMENT_POLICY_FAILURE
      return true;
    });
  },
  'events of the contract': async () => {
    const commit = await contract.submitAsync('Transfer', { arguments: [id, 'frank'] });
    const { blockNumber } = await commit.getStatus();
    const events = await a.network.getChaincodeEvents(net.contract, { startBlock: blockNumber });
    try {
      for await (const event of events) {
        if (event.transactionId === commit.getTransactionId()) {
          assert.equal(event.eventName, 'AssetTransferred');
          assert.equal(json(event.payload).owner, 'frank');
          return;
        }
      }
    } finally {
      events.close();
    }
  },
  'blocks': async () => {
    for (const stream of [await a.network.getBlockEvents({ startBlock: 0n }), await a.network.getFilteredBlockEvents({ startBlock: 0n }),
      await a.network.getBlockAndPrivateDataEvents({ startBlock: 0n })]) {
      try {
        for await (const block of stream) {
          const number = block.getNumber ? block.getNumber() : (block.getHeader ? block.getHeader() : block.getBlock().getHeader()).getNumber();
          assert.equal(number, 0);
          break;
        }
      } finally {
        stream.close();
      }
    }
  },
  'many at once': async () => {
    const all = [];
    for (let i = 0; i < 100; i++) {
      const side = i % 2 ? a : b;
      all.push(side.network.getContract(net.contract).submitTransaction('Create', `${id}-${i}`, 'alice', String(i)));
    }
    await Promise.all(all);
  },
};

(async () => {
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`ok      ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED  ${name}: ${error.stack}`, error.details ?? '');
    }
  }
  console.log(`${Object.keys(checks).length - failed} passed, ${failed} failed`);
  a.close();
  b.close();
  process.exitCode = failed ? 1 : 0;
})();
