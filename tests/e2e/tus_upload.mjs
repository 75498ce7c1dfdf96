// Send a file with tus-js-client and print its address: node tus_upload.mjs <node_modules> <endpoint> <token> <file> <chunk size> <with creation>
import { createRequire } from 'node:module'
import { createReadStream, statSync } from 'node:fs'
import { basename } from 'node:path'

const [modules, endpoint, token, file, chunkSize, together] = process.argv.slice(2)
const tus = createRequire(modules + '/')('tus-js-client')

const upload = new tus.Upload(createReadStream(file), {
  endpoint,
  uploadSize: statSync(file).size,
  chunkSize: Number(chunkSize),
  uploadDataDuringCreation: together === 'true',
  retryDelays: Array(200).fill(20),
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: basename(file), filetype: 'application/pdf' },
  onError: (error) => { console.error(String(error)); process.exit(1) },
  onSuccess: () => console.log(upload.url),
})
upload.start()
