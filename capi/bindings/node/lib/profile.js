'use strict';
const { koffi, c, Memory, call, json, indexOf } = require('./abi');
const { Handle } = require('./handle');
const { stringAt } = require('./text');

/** What each layer costs, in the runs that are recorded in it. */
class Profile extends Handle {
  constructor() {
    const out = new Memory(8);
    call('sl_profile_create', out.address);
    const raw = out.getInt64(0);
    super(raw, () => c.sl_profile_free(raw));
  }

  reset() { call('sl_profile_reset', this.raw()); }

  describe() {
    return json('sl_profile_describe', this.raw()).layers.map((layer) => ({
      path: layer.path, type: layer.type, parent: layer.parent ?? undefined, calls: layer.calls,
      selfSeconds: layer.self_seconds, flop: layer.flop, bytes: layer.bytes,
      foldedInto: layer.folded_into ?? undefined,
    }));
  }
}

const LEVELS = ['default', 'debug', 'info', 'warning', 'error', 'off'];
const LOG = koffi.pointer(koffi.proto('void slnodeLog(int64_t, int32_t, int64_t)'));
let registered;

/** Sends the library's messages of at least a level to a function, or, without one, to stderr. */
function setLog(callback, level = 'warning') {
  const number = indexOf(LEVELS, level, 'level');
  const before = registered;
  registered = callback && koffi.register((_, severity, message) => callback(LEVELS[severity], stringAt(message)), LOG);
  c.sl_log_set(registered ? koffi.address(registered) : 0, 0, number);
  if (before) koffi.unregister(before);
}

module.exports = { Profile, setLog };
