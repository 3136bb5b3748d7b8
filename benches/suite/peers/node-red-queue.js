// A queue in a file, for the initialize tab of a function node. It appends each message to a file
// and syncs it. It sends at most 128 KiB at a time, at least once a second, until the server has
// them. Node-RED acknowledges a message before this code receives it.
const BATCH_BYTES = 128 * 1024;
const RETRY_MS = 1000;

const directory = '@DIRECTORY@';
const file = fs.openSync(`${directory}/queue`, 'a+');
const positionFile = `${directory}/position`;
const state = { lines: [], start: 0, end: fs.fstatSync(file).size, sent: 0 };
let isWriting = false;
let isSending = false;
try {
    state.start = Number(fs.readFileSync(positionFile, 'utf8'));
} catch (error) {
    node.debug('a new queue');
}

function write() {
    if (isWriting || state.lines.length === 0) return;
    isWriting = true;
    const text = Buffer.from(state.lines.splice(0).join(''));
    fs.writeSync(file, text);
    fs.fdatasync(file, () => {
        state.end += text.length;
        isWriting = false;
        if (state.end - state.start >= BATCH_BYTES) send();
        write();
    });
}

function send() {
    const length = Math.min(state.end - state.start, BATCH_BYTES);
    if (isSending || length <= 0) return;
    isSending = true;
    const buffer = Buffer.alloc(length);
    fs.readSync(file, buffer, 0, length, state.start);
    state.sent = buffer.lastIndexOf('\n') + 1;
    const lines = buffer.toString('utf8', 0, state.sent - 1).split('\n');
    const headers = { 'content-type': 'application/json' };
    node.send({ isCall: true, headers, payload: `[${lines.join(',')}]` });
}

function answered(status) {
    if (status !== 200) {
        setTimeout(() => { isSending = false; send(); }, RETRY_MS);
        return;
    }
    state.start += state.sent;
    isSending = false;
    if (state.start === state.end && !isWriting) {
        fs.ftruncateSync(file);
        state.start = state.end = 0;
    }
    fs.writeFileSync(positionFile, String(state.start));
    if (state.end - state.start >= BATCH_BYTES) send();
}

function receive(msg) {
    if (msg.isCall) {
        answered(msg.statusCode);
    } else {
        state.lines.push(`${msg.payload}\n`);
        write();
    }
}

context.set('queue', { receive });
setInterval(send, 1000);
