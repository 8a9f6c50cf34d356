package org.sequencelayers;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.function.LongToIntFunction;

/**
 * Streams of tokens, in which the choices of a model are its next inputs: {@code sl_decoder}. Its
 * thread rules are those of a {@link State}.
 */
public final class Decoder implements AutoCloseable {
  private final Constants constants;
  private final Handle handle;
  private final long address;
  private final Exclusive use = new Exclusive();
  private final Struct error = Calls.newError();
  private final RunOptions options;
  private final Sequence tokens;
  private final Sequence logProbs;
  private final long tokensAddress;
  private final long logProbsAddress;
  private final long maskAddress;

  Decoder(Layer layer, DecoderOptions options) {
    constants = options.constants();
    Struct struct = options.write();
    handle =
        Handle.under(
            layer.handle(),
            this,
            (parent, out, error) -> Calls.ABI.decoderCreate(parent, struct.address(), out, error),
            Calls.ABI::decoderFree,
            struct,
            options);
    address = handle.address();
    this.options = new RunOptions(constants, null);
    tokens = Sequence.allocate(DType.INT32, options.batch(), 1).withMask();
    logProbs = Sequence.allocate(DType.FLOAT32, options.batch(), 1);
    tokensAddress = Platform.CURRENT.address(tokens.ints());
    logProbsAddress = Platform.CURRENT.address(logProbs.floats());
    maskAddress = Platform.CURRENT.address(tokens.mask());
  }

  /**
   * Appends a prompt, without the start token: continues as if its tokens had been sampled.
   *
   * @param prompt int32 {@code [batch, time]}; invalid tokens count as absent
   */
  public void prefill(Sequence prompt) {
    prefill(prompt, constants);
  }

  /**
   * Appends a prompt, with constants.
   *
   * @param prompt int32 {@code [batch, time]}
   * @param constants of a streamed one the part that goes with these steps
   */
  public void prefill(Sequence prompt, Constants constants) {
    RunOptions run = new RunOptions(constants, null);
    call(
        error -> Calls.ABI.decoderPrefill(address, prompt.address(), run.address(), error),
        prompt,
        run);
  }

  /**
   * Chooses the next token of each stream: {@link #tokens}, {@link #logProbs} and {@link #mask}
   * then hold it. Real-time safe: it allocates nothing and takes no lock, unless it fails.
   */
  public void sample() {
    sample(constants);
  }

  /**
   * Chooses the next token of each stream, with constants.
   *
   * @param constants of a streamed one the part that goes with this step
   */
  public void sample(Constants constants) {
    use.enter();
    try {
      options.set(constants, null);
      check(
          Calls.ABI.decoderSample(
              address,
              tokensAddress,
              logProbsAddress,
              maskAddress,
              options.address(),
              error.address()));
    } finally {
      use.exit();
    }
  }

  /**
   * The last choices.
   *
   * @return a number for each stream, in the same buffer each time
   */
  public IntBuffer tokens() {
    return tokens.ints();
  }

  /**
   * Log probabilities of the last choices: the model's own, whatever the temperature is.
   *
   * @return a number for each stream, in the same buffer each time
   */
  public FloatBuffer logProbs() {
    return logProbs.floats();
  }

  /**
   * Which streams had not ended before the last choice.
   *
   * @return 1 or 0 for each stream, in the same buffer each time
   */
  public ByteBuffer mask() {
    return tokens.mask();
  }

  /**
   * Log probabilities of given tokens from the start of a sequence. The streams are not touched.
   *
   * @param tokens int32 {@code [batch, time]} of any batch
   * @param constants whole, as in a layer-wise run; null where the model needs none
   * @return float32 of the same shape, with a mask
   */
  public Sequence logProb(Sequence tokens, Constants constants) {
    Sequence result = Sequence.allocate(DType.FLOAT32, tokens.dims()).withMask();
    RunOptions run = new RunOptions(constants, null);
    call(
        error ->
            Calls.ABI.decoderLogProb(
                address, tokens.address(), result.address(), run.address(), error),
        tokens,
        result,
        run);
    return result;
  }

  /**
   * Forks all streams: these continue where those of the other decoder stand, with their own
   * options.
   *
   * @param source of the same layer, batch and constants
   */
  public void copyFrom(Decoder source) {
    if (source == this) {
      return;
    }
    source.use.enter();
    try {
      call(error -> Calls.ABI.decoderCopy(address, source.address, error));
    } finally {
      source.use.exit();
    }
  }

  /** Sets all streams back to their start. */
  public void reset() {
    call(error -> Calls.ABI.decoderReset(address, error));
  }

  /** Frees the decoder. Does nothing the second time. */
  @Override
  public void close() {
    if (use.close()) {
      handle.close();
    }
  }

  private void call(LongToIntFunction call, Object... kept) {
    use.enter();
    try {
      check(call.applyAsInt(error.address()));
    } finally {
      Reference.reachabilityFence(kept);
      use.exit();
    }
  }

  private void check(int status) {
    if (status != 0) {
      throw Calls.failure(status, error);
    }
  }
}
