#!/usr/bin/env bash
# openai 7.59.0 of npm, node 20. A server answers 429 with `Retry-After: 3600`. The client waits about half a second and
# asks again, then about a second and asks a third time; then it throws. A `Retry-After` of more than 60 s counts as
# none. `Retry-After: 2` is waited out. `x-should-retry: false` beside the long one makes it throw at once.
# One would expect the longest waits to bring the fewest requests: the refusal that holds for an hour is asked again
# sooner than the one that holds for two seconds. openai 3.57.0 of PyPI does not ask again above 120 s.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund openai@7.59.0 >/dev/null
cat >try.mjs <<'JS'
import http from 'node:http'
import OpenAI from 'openai'

let headers = {}
let times = []
const server = http.createServer((request, response) => {
  times.push(Date.now())
  request.resume()
  response.writeHead(429, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify({ error: { message: 'wait', code: 'rate_limit_exceeded' } }))
})
await new Promise((ready) => server.listen(0, '127.0.0.1', ready))
const client = new OpenAI({ apiKey: 'sk', baseURL: `http://127.0.0.1:${server.address().port}/v1` })

async function ask(given) {
  headers = given
  times = []
  const thrown = await client.models.list().catch((error) => error.constructor.name)
  const waits = times.slice(1).map((at, n) => ((at - times[n]) / 1000).toFixed(1))
  console.log(JSON.stringify(given), '->', thrown, 'requests:', times.length, 'waits (s):', waits.join(', ') || 'none')
  return waits.map(Number)
}

const hour = await ask({ 'retry-after': '3600' })
const two = await ask({ 'retry-after': '2' })
const told = await ask({ 'retry-after': '3600', 'x-should-retry': 'false' })
server.close()
const as_described = hour.length === 2 && hour.every((wait) => wait < 2) && two.every((wait) => wait >= 2) && told.length === 0
console.log(as_described ? 'as described' : 'this has changed')
process.exit(as_described ? 0 : 1)
JS
node try.mjs
