// Print live events as JSON lines until killed: node listen.mjs <node_modules> <address of /api/events>
import { createRequire } from 'node:module'

const [modules, address] = process.argv.slice(2)
const { EventSource } = createRequire(modules + '/')('eventsource')
let last = ''

function open() {
  const source = new EventSource(last ? `${address}&lastEventId=${last}` : address)
  for (const topic of ['connected', 'resync', 'post.published', 'notification']) {
    source.addEventListener(topic, (event) => {
      last = event.lastEventId
      console.log(JSON.stringify({ topic, id: event.lastEventId, data: JSON.parse(event.data) }))
    })
  }
  source.addEventListener('error', () => {
    // An answer that is an error ends an EventSource for good (HTML standard, 9.2.3).
    if (source.readyState === EventSource.CLOSED) setTimeout(open, 200)
  })
}
open()
