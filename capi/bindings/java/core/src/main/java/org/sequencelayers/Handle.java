package org.sequencelayers;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;

/**
 * A native handle that is freed once: when it is closed, or else after the garbage collector has
 * found its owner unreachable. What is made of a handle, such as a state of a layer, keeps it
 * alive: closed first, it is freed with the last of them.
 */
final class Handle {
  private static final Cleaner CLEANER = Cleaner.create();
  private static final AtomicLong LIVE = new AtomicLong();

  private final Resource resource;
  private final Cleaner.Cleanable cleanable;
  private volatile boolean closed;

  /** The handle belongs to `owner`, which the cleaner watches. `parent` may be null. */
  Handle(Object owner, long address, LongConsumer free, Handle parent) {
    resource = new Resource(address, free, parent == null ? null : parent.resource);
    cleanable = CLEANER.register(owner, resource);
  }

  /**
   * A handle that `maker` makes of its parent. The memory of `kept` lives until it has returned.
   */
  static Handle under(Handle parent, Object owner, Maker maker, LongConsumer free, Object... kept) {
    long address = parent.acquire();
    try {
      long made = Calls.make((out, error) -> maker.make(address, out, error), kept);
      return new Handle(owner, made, free, parent);
    } finally {
      parent.release();
    }
  }

  /** A function that makes a handle of a parent's. */
  interface Maker {
    int make(long parent, long out, long error);
  }

  /** Number of handles that are not freed yet. */
  static long live() {
    return LIVE.get();
  }

  /** The address, which stays valid until {@link #release}. */
  long acquire() {
    if (closed || !resource.retain()) {
      throw new IllegalStateException("it is closed");
    }
    return resource.address;
  }

  void release() {
    resource.release();
  }

  /** The address, for an owner that itself sees to it that nobody closes the handle meanwhile. */
  long address() {
    return resource.address;
  }

  /** Says that each of the two depends from now on on what the other did. Neither is closed. */
  void exchangeParents(Handle other) {
    Resource parent = resource.parent;
    resource.parent = other.resource.parent;
    other.resource.parent = parent;
  }

  void close() {
    closed = true;
    cleanable.clean();
  }

  private static final class Resource implements Runnable {
    final long address;
    private final LongConsumer free;
    private volatile Resource parent;
    private final AtomicInteger users = new AtomicInteger(1);

    Resource(long address, LongConsumer free, Resource parent) {
      this.address = address;
      this.free = free;
      this.parent = parent;
      if (parent != null && !parent.retain()) {
        free.accept(address);
        throw new IllegalStateException("it is closed");
      }
      LIVE.incrementAndGet();
    }

    boolean retain() {
      int count = users.get();
      while (count > 0 && !users.compareAndSet(count, count + 1)) {
        count = users.get();
      }
      return count > 0;
    }

    void release() {
      if (users.decrementAndGet() > 0) {
        return;
      }
      free.accept(address);
      LIVE.decrementAndGet();
      if (parent != null) {
        parent.release();
      }
    }

    @Override
    public void run() {
      release();
    }
  }
}
