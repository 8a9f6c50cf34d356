package org.sequencelayers;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Objects;
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
  private final Slots slots;
  private final int stepTokens;
  private Profile profile;

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
    stepTokens = Math.toIntExact(Calls.ABI.decoderStepTokens(address));
    tokens = Sequence.allocate(DType.INT32, options.batch(), 1, stepTokens).withMask();
    logProbs = Sequence.allocate(DType.FLOAT32, options.batch(), 1, stepTokens);
    tokensAddress = Platform.CURRENT.address(tokens.ints());
    logProbsAddress = Platform.CURRENT.address(logProbs.floats());
    maskAddress = Platform.CURRENT.address(tokens.mask());
    slots = new Slots(options.batch());
  }

  /**
   * The number of tokens of a step of one stream. If it is more than 1, prompts and given tokens
   * are {@code [batch, time, stepTokens]}.
   *
   * @return 1, but for a model whose outermost layer is a {@code MultivariateDecoder}
   */
  public int stepTokens() {
    return stepTokens;
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
    record(
        (profile, error) ->
            Calls.ABI.decoderPrefill(address, prompt.address(), run.address(profile), error),
        prompt,
        run);
  }

  /**
   * Sets one stream of the batch to its start, as {@link #reset} does with all.
   *
   * @param slot counted from 0
   */
  public void startSlot(long slot) {
    call(error -> Calls.ABI.decoderStartSlot(address, slot, 0, error));
  }

  /**
   * Sets one stream of the batch to its start, with choices of its own. It then gives what a
   * decoder of batch 1 with these options gives, bit for bit, whatever runs beside it.
   *
   * @param slot counted from 0
   * @param options how the stream chooses; batch, maximum of tokens and constants are not read
   */
  public void startSlot(long slot, DecoderOptions options) {
    Struct struct = options.write();
    call(
        error -> Calls.ABI.decoderStartSlot(address, slot, struct.address(), error),
        struct,
        options);
  }

  /**
   * Appends a prompt to one stream. Constants of the decoder, if there are any, must have a batch
   * of 1.
   *
   * @param slot counted from 0
   * @param prompt int32 {@code [1, time]}
   */
  public void prefillSlot(long slot, Sequence prompt) {
    prefillSlot(slot, prompt, constants);
  }

  /**
   * Appends a prompt to one stream, with constants.
   *
   * @param slot counted from 0
   * @param prompt int32 {@code [1, time]}
   * @param constants of batch 1; of a streamed one the part that goes with these steps
   */
  public void prefillSlot(long slot, Sequence prompt, Constants constants) {
    RunOptions run = new RunOptions(constants, null);
    record(
        (profile, error) ->
            Calls.ABI.decoderPrefillSlot(
                address, slot, prompt.address(), run.address(profile), error),
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
    sample(null, constants);
  }

  /**
   * Chooses the next token of some streams; all others stay as they are. {@link #tokens}, {@link
   * #logProbs} and {@link #mask} then begin with theirs, in the order of the slots. Constants of
   * the decoder, if there are any, must have a batch of 1. Real-time safe, as {@link #sample()}.
   *
   * @param slots different items of the batch, in any order
   */
  public void sampleSlots(long... slots) {
    sampleSlots(slots, constants);
  }

  /**
   * Chooses the next token of some streams, with constants.
   *
   * @param slots different items of the batch, in any order
   * @param constants of that batch, or of a batch of 1
   */
  public void sampleSlots(long[] slots, Constants constants) {
    sample(Objects.requireNonNull(slots), constants);
  }

  /** Chooses for the streams in these slots; null: for all. */
  private void sample(long[] numbers, Constants constants) {
    use.enter();
    try {
      if (numbers != null) {
        slots.set(numbers);
      }
      options.set(constants, null);
      long recorded = Profile.enter(profile);
      try {
        Calls.check(sample(numbers, options.address(recorded)), error);
      } finally {
        Profile.exit(profile);
      }
    } finally {
      use.exit();
    }
  }

  private int sample(long[] numbers, long run) {
    if (numbers == null) {
      return Calls.ABI.decoderSample(
          address, tokensAddress, logProbsAddress, maskAddress, run, error.address());
    }
    return Calls.ABI.decoderSampleSlots(
        address,
        slots.address(),
        numbers.length,
        tokensAddress,
        logProbsAddress,
        maskAddress,
        run,
        error.address());
  }

  /**
   * Makes one stream continue where one of another decoder, or of this one, stands, with the
   * choices of that one.
   *
   * @param slot counted from 0
   * @param source of the same layer and constants; the batch may differ
   * @param sourceSlot stream of the source
   */
  public void copySlotFrom(long slot, Decoder source, long sourceSlot) {
    use.enterWith(source.use);
    try {
      Calls.check(
          Calls.ABI.decoderCopySlot(address, slot, source.address, sourceSlot, error.address()),
          error);
    } finally {
      use.exitWith(source.use);
    }
  }

  /**
   * Saves one stream with its choices.
   *
   * @param slot counted from 0
   * @return bytes for any slot of a decoder of the same model, constants and maximum of tokens
   */
  public byte[] saveSlot(long slot) {
    byte[][] saved = new byte[1][];
    call(
        error -> {
          Struct bytes = new Struct(Math.toIntExact(Calls.ABI.decoderSaveSlotSize(address)));
          int status =
              Calls.ABI.decoderSaveSlot(address, slot, bytes.address(), bytes.size(), error);
          saved[0] = new byte[bytes.size()];
          bytes.bytes().get(0, saved[0]);
          return status;
        });
    return saved[0];
  }

  /**
   * Makes one stream continue where the saved one stood; the others continue as they are.
   *
   * @param slot counted from 0
   * @param saved bytes of {@link #saveSlot}
   * @throws SequenceLayersException as {@link State#load(byte[])}
   */
  public void loadSlot(long slot, byte[] saved) {
    Struct bytes = new Struct(saved.length);
    bytes.bytes().put(0, saved);
    call(
        error -> Calls.ABI.decoderLoadSlot(address, slot, bytes.address(), saved.length, error),
        bytes);
  }

  /**
   * Records prompts and samples from now on.
   *
   * @param profile gets the costs; null: they are not recorded any more
   */
  public void record(Profile profile) {
    use.enter();
    this.profile = profile;
    use.exit();
  }

  /**
   * The last choices.
   *
   * @return {@link #stepTokens} numbers for each stream, in the same buffer each time
   */
  public IntBuffer tokens() {
    return tokens.ints();
  }

  /**
   * Log probabilities of the last choices: the model's own, whatever the temperature is.
   *
   * @return {@link #stepTokens} numbers for each stream, in the same buffer each time
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
    use.enterWith(source.use);
    try {
      Calls.check(Calls.ABI.decoderCopy(address, source.address, error.address()), error);
    } finally {
      use.exitWith(source.use);
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

  private interface RecordedCall {
    int call(long profile, long error);
  }

  private void record(RecordedCall call, Object... kept) {
    call(
        error -> {
          long recorded = Profile.enter(profile);
          try {
            return call.call(recorded, error);
          } finally {
            Profile.exit(profile);
          }
        },
        kept);
  }

  private void call(LongToIntFunction call, Object... kept) {
    use.call(error, call, kept);
  }
}
