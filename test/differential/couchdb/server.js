// Serves CouchDB's protocol on a free port of localhost and prints the address. All data is in memory.
const crypto = require('crypto')
const express = require('express')
const PouchDB = require('pouchdb-core')
  .plugin(require('pouchdb-adapter-memory'))
  .plugin(require('pouchdb-mapreduce'))
  .plugin(require('pouchdb-find'))
  .plugin(require('pouchdb-replication'))

// What CouchDB has and PouchDB's server has not: revisions in ETag and If-Match, and documents with attachments as
// multipart/related (https://docs.couchdb.org/en/stable/api/document/common.html).
function complete (req, res, next) {
  const rev = req.get('If-Match')
  if (rev) req.query.rev = rev.replaceAll('"', '')
  const send = res.send
  res.send = body => {
    const doc = req.method === 'GET' ? parse(body) : undefined
    if (doc && doc._rev) res.set('ETag', `"${doc._rev}"`)
    const files = Object.entries((doc && doc._attachments) || {}).filter(([, file]) => file.data)
    if (files.length === 0 || !(req.get('Accept') || '').includes('multipart/related')) return send.call(res, body)
    const boundary = crypto.randomUUID()
    const parts = [Buffer.from(`--${boundary}\r\nContent-Type: application/json\r\n\r\n`)]
    const stubs = files.map(([name, { data, ...file }]) => [name, { ...file, follows: true }])
    parts.push(Buffer.from(JSON.stringify({ ...doc, _attachments: Object.fromEntries(stubs) })))
    for (const [name, file] of files) {
      parts.push(Buffer.from(`\r\n--${boundary}\r\nContent-Disposition: attachment; filename="${name}"\r\nContent-Type: ${file.content_type}\r\n\r\n`))
      parts.push(Buffer.from(file.data, 'base64'))
    }
    parts.push(Buffer.from(`\r\n--${boundary}--`))
    res.set('Content-Type', `multipart/related; boundary="${boundary}"`)
    return send.call(res, Buffer.concat(parts))
  }
  next()
}

function parse (body) {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

// Pages: the bookmark that CouchDB gives with what it found is, here, how much was found before.
function paged (req, res, next) {
  const before = Number(req.body.bookmark ?? 0)
  delete req.body.bookmark
  if (before > 0) req.body.skip = before
  const send = res.send
  res.send = body => {
    const found = parse(body)
    return send.call(res, found && found.docs ? JSON.stringify({ ...found, bookmark: String(before + found.docs.length) }) : body)
  }
  next()
}

const app = express()
const couch = require('express-pouchdb')(PouchDB.defaults({ adapter: 'memory' }), {
  mode: 'minimumForPouchDB',
  overrideMode: { include: ['routes/find'] },
  inMemoryConfig: true
})
couch.disable('etag')
app.post('/:db/_find', express.json({ type: () => true }), paged)
app.use(complete, couch)
const server = app.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${server.address().port}`))
