// What the sample clients share: their flags, and users who call a contract through a peer's gateway and print what
// they do.
import { createPrivateKey, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import { connect, hash, signers, EndorseError, GatewayError, type Contract, type Network, type ProposalOptions } from '@hyperledger/fabric-gateway';

const maxTries = 10;
const retryEvery = 200; // ms

/** Walk takes users through a sample's transactions. The id is new at each run. */
export type Walk<Users extends User[]> = (users: Users, id: string) => Promise<void>;

/** Profile is what is needed of a connection profile. */
interface Profile {
  organizations: Record<string, { mspid: string; peers: string[] }>;
  peers: Record<string, { url: string; tlsCACerts: { pem: string }; grpcOptions?: { 'ssl-target-name-override'?: string } }>;
}

/** Call is what goes beyond a transaction's arguments. */
export interface Call {
  /** transient data is seen by endorsers and not written to the ledger. */
  transient?: Record<string, string>;
  /** endorsers are the MSP ids of who has to endorse; left out, the gateway chooses. */
  endorsers?: string[];
}

/** run reads the arguments, connects one user for each identity folder, and walks. */
export async function run<Users extends User[]>(contract: string, identities: Users['length'], walk: Walk<Users>): Promise<void> {
  const users: User[] = [];
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
    await walk(users as Users, values.id); // there are as many as were asked for
  } catch (error) {
    console.error(`${contract}: ${explain(error)}`);
    process.exitCode = 1;
  } finally {
    users.forEach(user => user.close());
  }
}

/** User calls a contract as one identity. */
export class User {
  readonly mspID: string;
  readonly close: () => void;
  private readonly network: Network;
  private readonly contract: Contract;
  private block = 0n; // of the last transaction

  constructor(folder: string, profile: string | undefined, channel: string, contract: string) {
    const read = (name: string): Buffer => readFileSync(join(folder, name));
    this.mspID = read('mspID').toString().trim();
    const peer = peerOf(JSON.parse(readFileSync(profile ?? join(folder, 'connection-profile.json')).toString()) as Profile, this.mspID);
    const serverName = peer.grpcOptions?.['ssl-target-name-override'];
    const client = new grpc.Client(peer.url.replace(/^grpcs:\/\//, ''), grpc.credentials.createSsl(Buffer.from(peer.tlsCACerts.pem)),
      serverName ? { 'grpc.ssl_target_name_override': serverName } : {});
    const within = (seconds: number) => (): grpc.CallOptions => ({ deadline: Date.now() + 1000 * seconds });
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
    this.close = () => {
      gateway.close();
      client.close();
    };
  }

  /**
   * submit sends a transaction and waits until it is committed. One that is not endorsed is tried again for a while: some
   * endorser may be a block behind.
   */
  submit(name: string, args: string[], call: Call = {}): Promise<string> {
    return this.tell('submits', name, args, this.send(name, options(args, call)));
  }

  /** evaluate asks the user's peer, and writes nothing. */
  evaluate(name: string, args: string[], call: Call = {}): Promise<string> {
    return this.tell('asks', name, args, this.contract.evaluate(name, options(args, call)));
  }

  /** hears waits until the user's peer has the last transaction of another user, and the event of this name in its block. */
  async hears(event: string, other: User): Promise<void> {
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

  private async send(name: string, options: ProposalOptions): Promise<Uint8Array> {
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

  private async tell(verb: string, name: string, args: string[], result: Promise<Uint8Array>): Promise<string> {
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
export async function refused(result: Promise<string>): Promise<void> {
  const isRefused = await result.then(() => false, () => true);
  if (!isRefused) {
    throw new Error('this was to be refused');
  }
  console.log('  as it should be');
}

function options(args: string[], call: Call): ProposalOptions {
  return {
    arguments: args,
    ...(call.transient && { transientData: call.transient }),
    ...(call.endorsers && { endorsingOrganizations: call.endorsers }),
  };
}

/** peerOf is the first peer of an organization. */
function peerOf(profile: Profile, mspID: string): Profile['peers'][string] {
  const name = Object.values(profile.organizations).find(organization => organization.mspid === mspID)?.peers[0];
  const peer = name === undefined ? undefined : profile.peers[name];
  if (!peer) {
    throw new Error(`the connection profile has no peers of ${mspID}`);
  }
  return peer;
}

/** explain adds what the endorsers themselves said. */
function explain(error: unknown): string {
  const details = error instanceof GatewayError ? error.details.map(detail => `\n  ${detail.mspId}: ${detail.message}`) : [];
  return `${error instanceof Error ? error.message : String(error)}${details.join('')}`;
}
