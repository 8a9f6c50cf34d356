package org.sequencelayers;

import java.nio.ByteBuffer;

/**
 * A layer written in Java, usable in any config that is created with its {@link Registry}. One
 * object serves all streams and may be called from several threads at once: what changes belongs
 * into the state. What it throws fails the call in which it runs, with {@link Status#CALLBACK}, the
 * message, and the exception as cause.
 *
 * <p>Sequences and buffers that it gets are views of the library's memory, valid during the call
 * alone. They are contiguous; sequences have masks. Where the output ratio is one, the mask of y is
 * a copy of that of x; otherwise all of it is 1. Calls into Java allocate a few small objects: a
 * model with a custom layer is not real-time safe.
 */
public interface CustomLayer extends AutoCloseable {
  /** Makes instances of a layer type. */
  @FunctionalInterface
  interface Factory {
    /**
     * Makes an instance.
     *
     * @param config the layer's JSON object, with {@code type}
     * @param weights the tensors that belong to it
     * @return the layer
     * @throws Exception the config is wrong
     */
    CustomLayer create(String config, WeightSource weights) throws Exception;
  }

  /**
   * Properties of the layer.
   *
   * @return by default a pointwise layer without latency
   */
  default LayerProperties properties() {
    return new LayerProperties();
  }

  /**
   * Output spec for an input spec.
   *
   * @param input content of a step of the input
   * @return content of a step of the output; by default that of the input
   */
  default ChannelSpec outputSpec(ChannelSpec input) {
    return input;
  }

  /**
   * The state that one item of a batch needs.
   *
   * @param input content of a step of the input
   * @return bytes; by default 0
   */
  default int stateSize(ChannelSpec input) {
    return 0;
  }

  /**
   * Sets the state of one item, which holds anything, to the start of a stream.
   *
   * @param input content of a step of the input
   * @param state as many bytes as {@link #stateSize} says; by default set to zeros
   */
  default void initState(ChannelSpec input, ByteBuffer state) {
    while (state.hasRemaining()) {
      state.put((byte) 0);
    }
  }

  /**
   * Runs a whole sequence.
   *
   * @param x the input
   * @param y gets the output
   */
  void layer(Sequence x, Sequence y);

  /**
   * Runs a block of a stream. By default as {@link #layer}, for a layer without state. Invalid
   * steps of x may hold NaN.
   *
   * @param state the states of all items, one after another
   * @param x the input
   * @param y gets the output
   */
  default void step(ByteBuffer state, Sequence x, Sequence y) {
    layer(x, y);
  }

  /** Called when the last model with this instance is freed; by default does nothing. */
  @Override
  default void close() {}
}
