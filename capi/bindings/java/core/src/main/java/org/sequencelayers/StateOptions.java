package org.sequencelayers;

/** Sizes and inputs of a stream: {@code sl_state_options}. A new object holds the defaults. */
public final class StateOptions {
  private long batch;
  private long maxSteps;
  private long maxLength;
  private ChannelSpec input;
  private Constants constants;

  /** The defaults: one stream, one block a step, the input that the model says of itself. */
  public StateOptions() {}

  /**
   * Sets how many streams run together.
   *
   * @param batch 0: 1
   * @return this
   */
  public StateOptions batch(long batch) {
    this.batch = batch;
    return this;
  }

  /**
   * Sets the maximum of input steps in one call.
   *
   * @param steps rounded up to a multiple of the block size; 0: one block
   * @return this
   */
  public StateOptions maxSteps(long steps) {
    maxSteps = steps;
    return this;
  }

  /**
   * Sets the maximum of input steps of the whole stream, which a layer that sees all of the past
   * needs.
   *
   * @param steps latency and padding included; 0: the stream has no end
   * @return this
   */
  public StateOptions maxLength(long steps) {
    maxLength = steps;
    return this;
  }

  /**
   * Sets the content of a step of the input.
   *
   * @param input dtype and channel shape; null: {@link Layer#inputSpec}
   * @return this
   */
  public StateOptions input(ChannelSpec input) {
    this.input = input;
    return this;
  }

  /**
   * Sets the constants. Only their shapes are read when the state is made: a streamed one has the
   * length that goes with the maximum of steps. Steps without constants of their own then read
   * these.
   *
   * @param constants null: none
   * @return this
   */
  public StateOptions constants(Constants constants) {
    this.constants = constants;
    return this;
  }

  Constants constants() {
    return constants;
  }

  int batch() {
    return Math.toIntExact(Math.max(batch, 1));
  }

  /** The input of a state of this layer. */
  ChannelSpec inputOf(Layer layer) {
    return input == null ? layer.inputSpec() : input;
  }

  Struct write(ChannelSpec input) {
    Struct struct = Struct.sized(136).putLong(8, batch).putLong(16, maxSteps);
    struct.put(24, input.write());
    struct.putLong(104, Constants.address(constants)).putLong(112, Constants.count(constants));
    return struct.putLong(128, maxLength);
  }
}
