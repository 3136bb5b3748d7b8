// Calls every action and both streams that Losant's JavaScript client has for a device, against a
// running sandbox.
//
//     node actions.mjs SCHEMAS READY
//
// SCHEMAS is the directory of Losant's schemas. READY is the output of `tidegate-sandbox serve
// --json`. The modules are loaded from the working directory. Each answer must be valid by the
// schema that the client's documentation names for it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.cwd(), 'package.json'));
const Ajv = require('ajv').default;
const losant = require('losant-rest');

const [schemas, ready] = [process.argv[2], JSON.parse(process.argv[3])];
const [gateway, greenhouse, workshop] = ready.devices;
const ajv = new Ajv({ strict: false });
require('ajv-formats').default(ajv);
const called = new Set();

/** Validates an answer without `_type` and `_links`, which Losant's schemas do not have. */
function check(name, answer) {
  answer = bare(answer);
  const validate = ajv.compile(JSON.parse(readFileSync(join(schemas, `${name}.json`), 'utf8')));
  const isValid = validate(answer);
  assert(isValid, `${name}: ${JSON.stringify(validate.errors)} in ${JSON.stringify(answer)}`);
  return answer;
}

function bare(value) {
  if (Array.isArray(value)) return value.map(bare);
  const extra = ([key]) => !['_type', '_links'].includes(key);
  return Object.fromEntries(Object.entries(value).filter(extra));
}

function call(client, action, device, more = {}) {
  called.add(action);
  const { applicationId, deviceId } = device;
  return client.device[action]({ applicationId, deviceId, ...more });
}

async function refused(statusCode, ...rest) {
  await assert.rejects(call(...rest), (error) => {
    assert.equal(error.statusCode, statusCode);
    check('error', { type: error.type, message: error.message });
    return true;
  });
}

/** Validates the answer to a job: 200 and success, or 202 and a job, by the sandbox's setup. */
const job = (answer) => check('jobQueued' in answer ? 'jobEnqueuedResult' : 'success', answer);

async function authenticate({ deviceId, key, secret }) {
  const client = losant.createClient({ url: ready.url });
  const authed = await client.auth.authenticateDevice({ credentials: { deviceId, key, secret } });
  check('authedDevice', authed);
  client.setOption('accessToken', authed.token);
  return client;
}

/** Calls the actions that a device's own token allows. */
async function deviceActions(client) {
  const now = Date.now();
  const states = [
    { time: now - 2000, data: { temperature: 21.5, door: false } },
    { time: new Date(now - 1000), data: { temperature: 22 }, meta: { backfill: true } },
  ];
  check('success', await call(client, 'sendState', greenhouse, { deviceState: states }));
  const history = check('deviceStates', await call(client, 'getState', greenhouse, { limit: 10 }));
  assert.deepEqual(history.map((state) => state.data.temperature), [22, 21.5]);
  const composite = await call(client, 'getCompositeState', greenhouse);
  assert.equal(check('compositeDeviceState', composite).door.value, false);

  const deviceCommand = { name: 'fan', payload: { speed: 80 } };
  check('success', await call(client, 'sendCommand', gateway, { deviceCommand }));
  const commands = await call(client, 'getCommand', gateway, { limit: 10 });
  assert.deepEqual(check('deviceCommands', commands)[0].payload, { speed: 80 });

  const disconnected = { status: 'disconnected', disconnectReason: 'power loss' };
  for (const connectionStatus of [disconnected, { status: 'connected' }]) {
    check('success', await call(client, 'setConnectionStatus', gateway, { connectionStatus }));
  }
  const log = check('deviceLog', await call(client, 'getLogEntries', gateway, { limit: 10 }));
  assert.equal(log.length, 2);
  assert.equal(check('device', await call(client, 'get', gateway)).deviceClass, 'gateway');

  const deviceState = { data: { temperature: null } };
  await refused(400, client, 'sendState', gateway, { deviceState });
  for (const action of ['delete', 'export', 'removeData']) {
    await refused(403, client, action, gateway);
  }
  await refused(403, client, 'patch', gateway, { device: {} });
}

/** Checks that each stream delivers an event after it is opened, valid by its schema. */
async function streams(client) {
  const stream = async (action, event, schema, send) => {
    const source = await call(client, action, greenhouse, { keepAliveInterval: 2 });
    const next = new Promise((resolve) => source.addEventListener(event, resolve));
    await send();
    const body = check(schema, JSON.parse((await next).data));
    source.close();
    return body;
  };
  const deviceCommand = { name: 'lamp', payload: 'äöü' };
  const sendCommand = () => call(client, 'sendCommand', greenhouse, { deviceCommand });
  const command = await stream('commandStream', 'deviceCommand', 'deviceCommand', sendCommand);
  assert.deepEqual(command.payload, deviceCommand.payload);
  const deviceState = { data: { light: 3 } };
  const sendState = () => call(client, 'sendState', greenhouse, { deviceState });
  const state = await stream('stateStream', 'deviceState', 'deviceStateOrStates', sendState);
  assert.deepEqual(state.data, deviceState.data);
}

/** Calls the actions that need an application's token. */
async function applicationActions(client) {
  const tags = [{ key: 'floor', value: '1' }];
  const patch = { device: { name: 'Orangery', tags } };
  const device = check('device', await call(client, 'patch', greenhouse, patch));
  assert.deepEqual([device.name, device.tags], ['Orangery', tags]);
  await refused(400, client, 'patch', greenhouse, { device: { colour: 'green' } });
  const application = { applicationId: ready.applicationId };
  const attributes = [{ name: 'open', dataType: 'boolean' }];
  const attic = {
    name: 'Attic', deviceClass: 'peripheral', gatewayId: gateway.deviceId, attributes,
  };
  const created = check('device', await client.devices.post({ ...application, device: attic }));
  assert.deepEqual([created.name, created.gatewayId], [attic.name, attic.gatewayId]);
  const listed = check('devices', await client.devices.get({ ...application }));
  assert.ok(listed.items.some((item) => item.deviceId === created.deviceId));
  await exportData(client);
  job(await call(client, 'removeData', greenhouse));
  assert.deepEqual(await call(client, 'getState', greenhouse), []);
  check('success', await call(client, 'delete', workshop));
  await refused(404, client, 'get', workshop);
}

async function exportData(client) {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const callbackUrl = `http://127.0.0.1:${listener.address().port}/done`;
  job(await call(client, 'export', greenhouse, { callbackUrl }));
  const [request, response] = await once(listener, 'request');
  const body = (await request.toArray()).join('');
  response.end();
  const rows = (await (await fetch(JSON.parse(body).url)).text()).trimEnd().split('\r\n');
  assert.equal(rows.length, 4, rows.join('\n'));
  listener.close();
}

const device = await authenticate(gateway);
await deviceActions(device);
await streams(device);
await applicationActions(losant.createClient({ url: ready.url, accessToken: ready.apiToken }));
const isAction = (name) => typeof device.device[name] === 'function';
assert.deepEqual([...called].sort(), Object.keys(device.device).filter(isAction).sort());
console.log(`${called.size} actions`);
process.exit(0);
