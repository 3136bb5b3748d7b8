// Sends commands as an application does, and waits until each device has reported their results.
//
//     node command.mjs URL TOKEN APPLICATION COMMANDS
//
// COMMANDS is a list of [device id, name, payload]. The modules are loaded from the working
// directory. Prints for each command the data of the state that reports its result.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

const require = createRequire(join(process.cwd(), 'package.json'));
const losant = require('losant-rest');

const [url, accessToken, applicationId, commands] = process.argv.slice(2);
const client = losant.createClient({ url, accessToken });
const results = [];
for (const [deviceId, name, payload] of JSON.parse(commands)) {
  const deviceCommand = { name, payload };
  await client.device.sendCommand({ applicationId, deviceId, deviceCommand });
  let state;
  for (let tries = 0; !state && tries < 200; tries += 1) {
    await setTimeout(50);
    const states = await client.device.getState({ applicationId, deviceId, limit: 100 });
    state = states.find(({ data }) => data.last === name);
  }
  results.push(state?.data);
}
console.log(JSON.stringify(results));
