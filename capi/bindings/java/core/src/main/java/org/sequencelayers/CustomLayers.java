package org.sequencelayers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The callbacks of custom layers. C knows factories and instances by numbers. There is one set of
 * function pointers, which lives as long as the process.
 */
final class CustomLayers {
  private static final Map<Long, CustomLayer.Factory> FACTORIES = new ConcurrentHashMap<>();
  private static final Map<Long, CustomLayer> INSTANCES = new ConcurrentHashMap<>();
  private static final AtomicLong LAST_NUMBER = new AtomicLong();
  private static final ThreadLocal<Throwable> FAILURE = new ThreadLocal<>();

  private CustomLayers() {}

  /** Made when the first custom layer is registered. */
  private static final class Table {
    static final Struct CALLBACKS = table(Platform.CURRENT);
  }

  /**
   * The {@code sl_layer_callbacks} of a factory, which is kept for ever: layers may outlive all.
   */
  static Struct callbacks(CustomLayer.Factory factory) {
    long number = LAST_NUMBER.incrementAndGet();
    FACTORIES.put(number, factory);
    return new Struct(Table.CALLBACKS.size()).put(0, Table.CALLBACKS).putLong(8, number);
  }

  /** The exception of a callback on this thread, if that is why a call failed; otherwise null. */
  static Throwable takeFailure(int status) {
    if (status != Status.CALLBACK.code() && status != Status.OUT_OF_MEMORY.code()) {
      return null;
    }
    Throwable failure = FAILURE.get();
    FAILURE.remove();
    return failure;
  }

  private static Struct table(Platform platform) {
    Struct table = Struct.sized(88);
    table.putLong(16, platform.function((Platform.Callback5) CustomLayers::create));
    table.putLong(24, platform.function((Platform.Callback1) CustomLayers::destroy));
    table.putLong(32, platform.function((Platform.Callback3) CustomLayers::properties));
    table.putLong(40, platform.function((Platform.Callback4) CustomLayers::outputSpec));
    table.putLong(48, platform.function((Platform.Callback4) CustomLayers::stateSize));
    table.putLong(56, platform.function((Platform.Callback4) CustomLayers::stateInit));
    table.putLong(64, platform.function((Platform.Callback4) CustomLayers::layer));
    table.putLong(72, platform.function((Platform.Callback5) CustomLayers::step));
    return table;
  }

  private static int create(long factory, long config, long weights, long out, long error) {
    return guarded(
        error,
        () -> {
          CustomLayer layer =
              FACTORIES
                  .get(factory)
                  .create(Platform.CURRENT.string(config), new WeightSource(weights));
          long number = LAST_NUMBER.incrementAndGet();
          INSTANCES.put(number, layer);
          struct(out, Long.BYTES).putLong(0, number);
        });
  }

  private static void destroy(long instance) {
    try {
      INSTANCES.remove(instance).close();
    } catch (Throwable failure) {
      Thread thread = Thread.currentThread();
      thread.getUncaughtExceptionHandler().uncaughtException(thread, failure);
    }
  }

  private static int properties(long instance, long out, long error) {
    return guarded(error, () -> INSTANCES.get(instance).properties().write(struct(out, 72)));
  }

  private static int outputSpec(long instance, long input, long out, long error) {
    return guarded(
        error,
        () -> {
          Struct spec = INSTANCES.get(instance).outputSpec(spec(input)).write();
          // All but the size.
          struct(out, ChannelSpec.SIZE).bytes().put(4, spec.bytes(), 4, ChannelSpec.SIZE - 4);
        });
  }

  private static int stateSize(long instance, long input, long out, long error) {
    return guarded(
        error,
        () -> struct(out, Long.BYTES).putLong(0, INSTANCES.get(instance).stateSize(spec(input))));
  }

  private static int stateInit(long instance, long input, long state, long error) {
    return guarded(
        error,
        () -> {
          CustomLayer layer = INSTANCES.get(instance);
          ChannelSpec spec = spec(input);
          layer.initState(spec, Platform.CURRENT.view(state, layer.stateSize(spec)));
        });
  }

  private static int layer(long instance, long x, long y, long error) {
    return guarded(error, () -> INSTANCES.get(instance).layer(Sequence.view(x), Sequence.view(y)));
  }

  private static int step(long instance, long state, long x, long y, long error) {
    return guarded(
        error,
        () -> {
          CustomLayer layer = INSTANCES.get(instance);
          Sequence input = Sequence.view(x);
          long size = input.dim(0) * layer.stateSize(input.channelSpec());
          layer.step(Platform.CURRENT.view(state, size), input, Sequence.view(y));
        });
  }

  private interface Callback {
    void run() throws Exception;
  }

  /** Runs a callback, and puts what it throws into the error. */
  private static int guarded(long error, Callback callback) {
    try {
      callback.run();
      return Status.OK.code();
    } catch (Throwable failure) {
      FAILURE.set(failure);
      int status =
          (failure instanceof OutOfMemoryError ? Status.OUT_OF_MEMORY : Status.CALLBACK).code();
      String message = failure.getMessage();
      fill(error, status, message == null ? failure.toString() : message);
      return status;
    }
  }

  private static void fill(long address, int status, String message) {
    int size = struct(address, Integer.BYTES).getInt(0);
    Struct error = struct(address, size);
    byte[] text = message.getBytes(StandardCharsets.UTF_8);
    int length = Math.min(text.length, size - 9);
    error.putInt(4, status).bytes().put(8, text, 0, length).put(8 + length, (byte) 0);
  }

  private static ChannelSpec spec(long address) {
    return ChannelSpec.read(struct(address, ChannelSpec.SIZE));
  }

  private static Struct struct(long address, long size) {
    ByteBuffer view = Platform.CURRENT.view(address, size);
    return new Struct(view);
  }
}
