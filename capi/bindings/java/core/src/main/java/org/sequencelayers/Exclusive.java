package org.sequencelayers;

import java.io.Serial;
import java.lang.ref.Reference;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongToIntFunction;

/**
 * Lets one thread at a time use an object, and none after it was closed. Nobody waits: a second
 * thread gets an exception.
 */
final class Exclusive extends AtomicInteger {
  @Serial private static final long serialVersionUID = 1;
  private static final int IDLE = 0;
  private static final int BUSY = 1;
  private static final int CLOSED = 2;

  void enter() {
    if (!compareAndSet(IDLE, BUSY)) {
      throw refusal();
    }
  }

  void exit() {
    setRelease(IDLE);
  }

  /** Closes it; false if it was closed before. */
  boolean close() {
    if (compareAndSet(IDLE, CLOSED)) {
      return true;
    }
    if (get() == BUSY) {
      throw refusal();
    }
    return false;
  }

  /** Enters this one and another, which may be this one. */
  void enterWith(Exclusive other) {
    enter();
    if (other != this) {
      try {
        other.enter();
      } catch (IllegalStateException refusal) {
        exit();
        throw refusal;
      }
    }
  }

  void exitWith(Exclusive other) {
    if (other != this) {
      other.exit();
    }
    exit();
  }

  /** Makes a call inside, as {@link Calls#check(LongToIntFunction, Object...)} does. */
  void call(Struct error, LongToIntFunction call, Object... kept) {
    enter();
    try {
      Calls.check(call.applyAsInt(error.address()), error);
    } finally {
      Reference.reachabilityFence(kept);
      exit();
    }
  }

  private IllegalStateException refusal() {
    return new IllegalStateException(
        get() == CLOSED ? "it is closed" : "another thread uses it at this moment");
  }
}
