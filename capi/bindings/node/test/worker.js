'use strict';
const { parentPort, workerData } = require('node:worker_threads');
const { manifest, interleaved } = require('./suite');

parentPort?.postMessage(interleaved(manifest.streams, workerData));
