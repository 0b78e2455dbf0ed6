// Runs before a contract, to bring what the platform gives into the form that Fabric's library for Node reads.
'use strict';

const { argv, env } = process;
const prefix = /^-{1,2}peer\.address(?:=(.*))?$/;
const rest = [];
for (let i = 2; i < argv.length; i++) {
  const given = prefix.exec(argv[i]);
  if (!given) {
    rest.push(argv[i]);
    continue;
  }
  rest.push('--peer.address', given[1] === undefined ? (argv[++i] || '') : given[1]);
}
if (env.CHAINCODE_SERVER_ADDRESS && rest[0] === 'start') {
  // A contract that runs as a service listens instead of dialling the peer.
  rest[0] = 'server';
  rest.push('--chaincode-address', env.CHAINCODE_SERVER_ADDRESS, '--chaincode-id', env.CHAINCODE_ID || env.CORE_CHAINCODE_ID_NAME || '');
  const files = { CHAINCODE_TLS_CERT: 'cert', CHAINCODE_TLS_KEY: 'key', CHAINCODE_TLS_CLIENT_CACERT: 'client-cacert' };
  for (const [name, option] of Object.entries(files)) {
    if (env[name]) {
      rest.push(`--chaincode-tls-${option}-file`, env[name]);
    }
  }
}
argv.splice(2, argv.length, ...rest);
