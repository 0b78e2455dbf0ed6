// What the sample clients share: their flags, and users who call a contract through a peer's gateway and print what
// they do.
'use strict';

const { createPrivateKey, randomUUID } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { setTimeout } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');
const { connect, hash, signers, EndorseError, GatewayError } = require('@hyperledger/fabric-gateway');

const maxTries = 10;
const retryEvery = 200; // ms

/**
 * run reads the arguments, connects one user for each identity folder, and walks: that is, takes the users through a
 * sample's transactions. The id is new at each run.
 */
async function run(contract, identities, walk) {
  const users = [];
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        channel: { type: 'string', default: 'demo' },
        contract: { type: 'string', default: contract },
        profile: { type: 'string' },
        id: { type: 'string', default: randomUUID().slice(0, 8) },
      },
    });
    if (positionals.length !== identities) {
      throw new Error(`give ${identities} folders that "heddle identity enroll --out" wrote, not ${positionals.length}`);
    }
    for (const folder of positionals) {
      users.push(new User(folder, values.profile, values.channel, values.contract));
    }
    await walk(users, values.id);
  } catch (error) {
    console.error(`${contract}: ${explain(error)}`);
    process.exitCode = 1;
  } finally {
    users.forEach(user => user.close());
  }
}

/** User calls a contract as one identity. */
class User {
  constructor(folder, profile, channel, contract) {
    const read = name => readFileSync(join(folder, name));
    this.mspID = read('mspID').toString().trim();
    const peer = peerOf(JSON.parse(readFileSync(profile ?? join(folder, 'connection-profile.json')).toString()), this.mspID);
    const serverName = peer.grpcOptions?.['ssl-target-name-override'];
    const client = new grpc.Client(peer.url.replace(/^grpcs:\/\//, ''), grpc.credentials.createSsl(Buffer.from(peer.tlsCACerts.pem)),
      serverName ? { 'grpc.ssl_target_name_override': serverName } : {});
    const within = seconds => () => ({ deadline: Date.now() + 1000 * seconds });
    const gateway = connect({
      client,
      identity: { mspId: this.mspID, credentials: read('cert.pem') },
      signer: signers.newPrivateKeySigner(createPrivateKey(read('key.pem'))),
      hash: hash.sha256,
      evaluateOptions: within(10), endorseOptions: within(30), submitOptions: within(10), commitStatusOptions: within(60),
      chaincodeEventsOptions: within(30),
    });
    this.network = gateway.getNetwork(channel);
    this.contract = this.network.getContract(contract);
    this.block = 0n; // of the last transaction
    this.close = () => {
      gateway.close();
      client.close();
    };
  }

  /**
   * submit sends a transaction and waits until it is committed. One that is not endorsed is tried again for a while: some
   * endorser may be a block behind. A call has what goes beyond the arguments: transient data, which is not written to
   * the ledger, and endorsers, the MSP ids of who has to endorse.
   */
  submit(name, args, call = {}) {
    return this.tell('submits', name, args, this.send(name, options(args, call)));
  }

  /** evaluate asks the user's peer, and writes nothing. */
  evaluate(name, args, call = {}) {
    return this.tell('asks', name, args, this.contract.evaluate(name, options(args, call)));
  }

  /** hears waits until the user's peer has the last transaction of another user, and the event of this name in its block. */
  async hears(event, other) {
    const events = await this.network.getChaincodeEvents(this.contract.getChaincodeName(), { startBlock: other.block });
    try {
      for await (const { eventName, payload } of events) {
        if (eventName === event) {
          console.log(`${this.mspID} hears ${eventName}: ${Buffer.from(payload).toString()}`);
          return;
        }
      }
    } finally {
      events.close();
    }
  }

  async send(name, options) {
    for (let tries = 1; ; tries++) {
      try {
        const transaction = await this.contract.submitAsync(name, options);
        const status = await transaction.getStatus();
        if (!status.successful) {
          throw new Error(`transaction ${status.transactionId} is not valid: code ${status.code}`);
        }
        this.block = status.blockNumber;
        return transaction.getResult();
      } catch (error) {
        if (!(error instanceof EndorseError) || tries === maxTries) {
          throw error;
        }
        await setTimeout(retryEvery);
      }
    }
  }

  async tell(verb, name, args, result) {
    const what = `${this.mspID} ${verb} ${name} ${JSON.stringify(args)}`;
    try {
      const said = Buffer.from(await result).toString();
      console.log(`${what}: ${said}`);
      return said;
    } catch (error) {
      console.log(`${what}: refused`);
      throw error;
    }
  }
}

/** refused wants a call to be refused, as this part of the sample shows. */
async function refused(result) {
  const isRefused = await result.then(() => false, () => true);
  if (!isRefused) {
    throw new Error('this was to be refused');
  }
  console.log('  as it should be');
}

function options(args, call) {
  return {
    arguments: args,
    ...(call.transient && { transientData: call.transient }),
    ...(call.endorsers && { endorsingOrganizations: call.endorsers }),
  };
}

/** peerOf is the first peer of an organization. */
function peerOf(profile, mspID) {
  const name = Object.values(profile.organizations).find(organization => organization.mspid === mspID)?.peers[0];
  const peer = name === undefined ? undefined : profile.peers[name];
  if (!peer) {
    throw new Error(`the connection profile has no peers of ${mspID}`);
  }
  return peer;
}

/** explain adds what the endorsers themselves said. */
function explain(error) {
  const details = error instanceof GatewayError ? error.details.map(detail => `\n  ${detail.mspId}: ${detail.message}`) : [];
  return `${error instanceof Error ? error.message : String(error)}${details.join('')}`;
}

module.exports = { refused, run };
