'use strict';
const { koffi, copied } = require('./abi');

const strlen = koffi.load(null).func('size_t strlen(int64_t)');

/** A copy of a string of C that ends in zero. */
const stringAt = (address) => copied(address, Number(strlen(address)) + 1).text();

module.exports = { stringAt };
