package org.sequencelayers;

/** How a model is made: {@code sl_layer_options}. A new object holds the defaults. */
public final class LayerOptions {
  private int numThreads;
  private long maxBytes;
  private Registry registry;

  /** The defaults: one thread, the built-in layers. */
  public LayerOptions() {}

  /**
   * Sets the threads of layer-wise runs. Steps always run on the caller's thread.
   *
   * @param threads 1 to 256; 0: 1
   * @return this
   */
  public LayerOptions numThreads(int threads) {
    numThreads = threads;
    return this;
  }

  /**
   * Sets the maximum of bytes for the layer's weights and tables together, for each of its states,
   * and for the workspace of each run.
   *
   * @param bytes the maximum; 0: 2^36
   * @return this
   */
  public LayerOptions maxBytes(long bytes) {
    maxBytes = bytes;
    return this;
  }

  /**
   * Makes the custom layers of a registry known to the config.
   *
   * @param registry it is needed until the model is made
   * @return this
   */
  public LayerOptions registry(Registry registry) {
    this.registry = registry;
    return this;
  }

  /** The struct, whose registry stays valid as long as `registryAddress` is acquired. */
  Struct write(long registryAddress) {
    Struct struct = Struct.sized(64).putInt(4, numThreads);
    return struct.putLong(8, registryAddress).putLong(40, maxBytes);
  }

  Registry registry() {
    return registry;
  }
}
