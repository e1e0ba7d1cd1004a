#!/usr/bin/env node
// A worker in Node: one JSON object a line, no package needed. It lists no capability "body", so there is never
// anything else on the stream. Task: {"args":["some words"]}; the result is how many there are.
'use strict';
const net = require('net');
const readline = require('readline');

if (!process.env.MTD_TASK_FD) {
  console.error('MTD_TASK_FD is not set: this program is a worker, which mtd starts in a pool with "tasks"');
  process.exit(2);
}
const mtd = new net.Socket({fd: Number(process.env.MTD_TASK_FD)});
const send = (message) => mtd.write(JSON.stringify(message) + '\n');

async function work(task) {
  const [text] = task.args;
  if (typeof text !== 'string') throw Object.assign(new TypeError('one text is wanted'), {retry: false});
  return text.split(/\s+/).filter(Boolean).length;
}

let busy = Promise.resolve();
readline.createInterface({input: mtd}).on('line', (line) => {
  const message = JSON.parse(line);
  const {id, attempt} = message;
  if (message.t === 'task') {
    busy = work(message).then(
        (result) => send({t: 'done', id, attempt, result}),
        (error) => send({t: 'fail', id, attempt, retry: error.retry ?? true,
                         error: {type: error.name, message: error.message, trace: error.stack}}));
  } else if (message.t === 'ping') {
    send({t: 'beat'});
  } else if (message.t === 'drain') {
    busy.then(() => mtd.end(() => process.exit(0)));
  }
}).on('close', () => process.exit(0));  // mtd has gone
send({t: 'ready', proto: 1, credit: 1, capabilities: []});
