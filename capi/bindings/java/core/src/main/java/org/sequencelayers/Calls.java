package org.sequencelayers;

import java.lang.ref.Reference;
import java.util.function.LongToIntFunction;
import java.util.function.LongUnaryOperator;

/** Calls that can fail, with an {@code sl_error}. */
final class Calls {
  static final Abi ABI = Platform.CURRENT.abi();

  private Calls() {}

  /** A new {@code sl_error}. */
  static Struct newError() {
    return Struct.sized(1024);
  }

  /** The exception of a call that returned `status` and filled `error`. */
  static SequenceLayersException failure(int status, Struct error) {
    return new SequenceLayersException(status, error.text(8), CustomLayers.takeFailure(status));
  }

  /** Throws the exception of a call that filled `error`, unless the status is 0. */
  static void check(int status, Struct error) {
    if (status != 0) {
      throw failure(status, error);
    }
  }

  /**
   * Calls a function that takes the address of an error and returns a status. The memory of `kept`
   * lives until it has returned.
   */
  static void check(LongToIntFunction call, Object... kept) {
    Struct error = newError();
    try {
      check(call.applyAsInt(error.address()), error);
    } finally {
      Reference.reachabilityFence(kept);
    }
  }

  /** Calls a function that takes the address of an error and returns a count, or -1. */
  static long count(LongUnaryOperator call, Object... kept) {
    Struct error = newError();
    try {
      long count = call.applyAsLong(error.address());
      if (count < 0) {
        throw failure(error.getInt(4), error);
      }
      return count;
    } finally {
      Reference.reachabilityFence(kept);
    }
  }

  /** Makes something: calls a function that takes where to put the pointer, and an error. */
  static long make(Maker maker, Object... kept) {
    Struct out = new Struct(Long.BYTES);
    check(error -> maker.make(out.address(), error), out, kept);
    return out.getLong(0);
  }

  /** A function that makes a handle. */
  interface Maker {
    int make(long out, long error);
  }
}
