package org.sequencelayers;

/** How a decoder chooses: {@code sl_decoder_options}. A new object holds the defaults. */
public final class DecoderOptions {
  private int startToken;
  private int stopToken;
  private boolean stops;
  private int padToken;
  private long batch;
  private long seed;
  private float temperature;
  private float topP;
  private long topK;
  private long maxLength;
  private Constants constants;
  private Struct guidance;

  /** The defaults: one stream, greedy, without a stop token. */
  public DecoderOptions() {}

  /**
   * Sets the first input.
   *
   * @param token a token that the model's first layer knows
   * @return this
   */
  public DecoderOptions startToken(int token) {
    startToken = token;
    return this;
  }

  /**
   * Sets the token that ends its stream, as its last token.
   *
   * @param token any, also 0; -1: none
   * @return this
   */
  public DecoderOptions stopToken(int token) {
    stopToken = token;
    stops = true;
    return this;
  }

  /**
   * Sets what a stream that has ended gives.
   *
   * @param token any number
   * @return this
   */
  public DecoderOptions padToken(int token) {
    padToken = token;
    return this;
  }

  /**
   * Sets how many streams run together.
   *
   * @param batch 0: 1
   * @return this
   */
  public DecoderOptions batch(long batch) {
    this.batch = batch;
    return this;
  }

  /**
   * Sets the seed of the random choices.
   *
   * @param seed any number
   * @return this
   */
  public DecoderOptions seed(long seed) {
    this.seed = seed;
    return this;
  }

  /**
   * Sets the temperature.
   *
   * @param temperature 0: always the most likely token
   * @return this
   */
  public DecoderOptions temperature(float temperature) {
    this.temperature = temperature;
    return this;
  }

  /**
   * Chooses among the most likely tokens that together have this probability.
   *
   * @param topP 0: among all
   * @return this
   */
  public DecoderOptions topP(float topP) {
    this.topP = topP;
    return this;
  }

  /**
   * Chooses among this many of the most likely tokens.
   *
   * @param topK 0: among all
   * @return this
   */
  public DecoderOptions topK(long topK) {
    this.topK = topK;
    return this;
  }

  /**
   * Sets the maximum of tokens of a stream, prompts included.
   *
   * @param tokens 0: the streams have no end
   * @return this
   */
  public DecoderOptions maxLength(long tokens) {
    maxLength = tokens;
    return this;
  }

  /**
   * Sets the constants, which every call without constants of its own reads.
   *
   * @param constants as in {@link StateOptions#constants}, for steps of one
   * @return this
   */
  public DecoderOptions constants(Constants constants) {
    this.constants = constants;
    return this;
  }

  /**
   * Sets how far each negative pushes the logits, if steps have several tokens. The batch of the
   * constants is then that of the decoder times (1 + the number of negatives), each stream followed
   * by its negatives.
   *
   * @param scales at most 8 numbers; none: no negatives
   * @return this
   */
  public DecoderOptions guidance(float... scales) {
    guidance = new Struct(Math.multiplyExact(Float.BYTES, scales.length));
    for (int i = 0; i < scales.length; ++i) {
      guidance.putFloat(i * Float.BYTES, scales[i]);
    }
    return this;
  }

  Constants constants() {
    return constants;
  }

  int batch() {
    return Math.toIntExact(Math.max(batch, 1));
  }

  Struct write() {
    Struct struct =
        Struct.sized(120).putInt(4, startToken).putInt(8, stopToken).putInt(12, padToken);
    struct.putLong(16, batch).putLong(24, seed).putFloat(32, temperature).putFloat(36, topP);
    struct.putLong(40, topK);
    struct.putLong(48, Constants.address(constants)).putLong(56, Constants.count(constants));
    if (guidance != null) {
      struct.putLong(88, guidance.size() / Float.BYTES).putLong(96, guidance.address());
    }
    return struct.putLong(72, maxLength).putInt(80, stops && stopToken == 0 ? 1 : 0);
  }
}
