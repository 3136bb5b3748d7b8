// Prints how JavaScript's Date.parse reads texts.
//
// Each line of the input is a text as JSON. The same line of the output is its milliseconds since
// the epoch, or null. Run it with TZ=UTC.

import { createInterface } from 'node:readline';

for await (const line of createInterface({ input: process.stdin })) {
  const time = Date.parse(JSON.parse(line));
  console.log(Number.isNaN(time) ? 'null' : String(time));
}
