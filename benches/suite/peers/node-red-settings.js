// The settings of the measured Node-RED: no editor, no telemetry, warnings only.
module.exports = {
    uiHost: '127.0.0.1',
    uiPort: process.env.NODE_RED_PORT,
    httpAdminRoot: false,
    flowFile: 'flows.json',
    logging: { console: { level: 'warn' } },
    telemetry: { enabled: false },
};
