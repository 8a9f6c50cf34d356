package org.sequencelayers;

import java.util.ArrayList;
import java.util.List;

/**
 * Layer types that configs may name: the built-in ones, and custom layers: {@code sl_registry}. One
 * thread at a time adds to it. Models made with it live on when it is closed.
 */
public final class Registry implements AutoCloseable {
  private final Handle handle;

  /** Makes a registry that knows the built-in layers. */
  public Registry() {
    handle = new Handle(this, Calls.make(Calls.ABI::registryCreate), Calls.ABI::registryFree, null);
  }

  /**
   * Makes a custom layer usable as {@code type} in any config, inside any combinator.
   *
   * @param type a name that is not taken
   * @param factory makes its instances
   * @return this
   */
  public Registry add(String type, CustomLayer.Factory factory) {
    Struct name = Struct.string(type);
    Struct callbacks = CustomLayers.callbacks(factory);
    long registry = handle.acquire();
    try {
      Calls.check(
          error -> Calls.ABI.registryAdd(registry, name.address(), callbacks.address(), error),
          name,
          callbacks);
    } finally {
      handle.release();
    }
    return this;
  }

  /**
   * The names of all layer types.
   *
   * @return in order
   */
  public List<String> types() {
    List<String> types = new ArrayList<>();
    long registry = handle.acquire();
    try {
      long count = Calls.ABI.registryTypeCount(registry);
      for (long i = 0; i < count; ++i) {
        types.add(Platform.CURRENT.string(Calls.ABI.registryType(registry, i)));
      }
    } finally {
      handle.release();
    }
    return types;
  }

  /** Frees the registry. Does nothing the second time. */
  @Override
  public void close() {
    handle.close();
  }

  Handle handle() {
    return handle;
  }
}
