package org.sequencelayers;

/** How a model is made: {@code sl_layer_options}. A new object holds the defaults. */
public final class LayerOptions {
  private int numThreads;
  private long maxBytes;
  private Registry registry;
  private Struct weightFormat;
  private int numStepThreads;
  private MatmulBackend matmulBackend = MatmulBackend.DEFAULT;
  private Struct kvFormat;

  /** What computes the large matrix products of layer-wise runs. */
  public enum MatmulBackend {
    /** The one that is expected to be the fastest on this CPU. */
    DEFAULT,
    /** The library's own kernels. */
    OWN,
    /** oneDNN where it can be loaded. */
    ONEDNN,
    /** OpenBLAS where it can be loaded. */
    OPENBLAS
  }

  /** The defaults: one thread, the built-in layers. */
  public LayerOptions() {}

  /**
   * Sets the threads of layer-wise runs.
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
   * Sets how the weights of matrix products are held.
   *
   * @param format "float32", "bfloat16", "int8" or "int4", and exceptions by the names of tensors:
   *     "int8, *.output.kernel=float32"
   * @return this
   */
  public LayerOptions weightFormat(String format) {
    weightFormat = Struct.string(format);
    return this;
  }

  /**
   * Sets the threads of steps with large matrices.
   *
   * @param threads 1 to 64, that of the caller included; 0: 1
   * @return this
   */
  public LayerOptions numStepThreads(int threads) {
    numStepThreads = threads;
    return this;
  }

  /**
   * Sets what computes the large matrix products of layer-wise runs.
   *
   * @param backend by default the one that is expected to be the fastest
   * @return this
   */
  public LayerOptions matmulBackend(MatmulBackend backend) {
    matmulBackend = backend;
    return this;
  }

  /**
   * How steps cache the keys and values of attention: {@code "float32"}, the default, {@code
   * "bfloat16"} or {@code "int8"}.
   *
   * @param format the format
   * @return this
   */
  public LayerOptions kvFormat(String format) {
    kvFormat = Struct.string(format);
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
    Struct struct = Struct.sized(80).putInt(4, numThreads).putLong(8, registryAddress);
    struct.putLong(40, maxBytes).putLong(48, weightFormat == null ? 0 : weightFormat.address());
    struct.putInt(56, numStepThreads).putInt(60, matmulBackend.ordinal());
    return struct.putLong(64, kvFormat == null ? 0 : kvFormat.address());
  }

  Registry registry() {
    return registry;
  }
}
