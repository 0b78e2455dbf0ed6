// PouchDB's server: node server.js SOCKET FOLDER serves CouchDB's protocol, as far as PouchDB knows it, at a Unix socket,
// and keeps its databases below a folder. couchsim stands before it: it checks the password and adds what is missing.
const PouchDB = require('pouchdb-core')
  .plugin(require('pouchdb-adapter-leveldb'))
  .plugin(require('pouchdb-mapreduce'))
  .plugin(require('pouchdb-find'))
  .plugin(require('pouchdb-replication'))

const [socket, folder] = process.argv.slice(2)
const couch = require('express-pouchdb')(PouchDB.defaults({ adapter: 'leveldb', prefix: folder + '/' }), {
  mode: 'minimumForPouchDB',
  overrideMode: { include: ['routes/find', 'routes/security'] },
  inMemoryConfig: true
})
couch.disable('etag')
require('express')().use(couch).listen(socket)
