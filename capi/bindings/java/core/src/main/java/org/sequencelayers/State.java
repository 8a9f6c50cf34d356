package org.sequencelayers;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.function.BiConsumer;
import java.util.function.LongToIntFunction;
import java.util.function.Predicate;

/**
 * A stream through a model, or a batch of them: {@code sl_state}. It may move from thread to
 * thread, but is used by one at a time; a call while another thread is inside one, or after {@link
 * #close}, is an {@link IllegalStateException}. Steps allocate nothing, neither in Java nor in the
 * library.
 */
public final class State implements AutoCloseable {
  private final Layer layer;
  private final Constants constants;
  private final int batch;
  private final ChannelSpec input;
  private final Handle handle;
  private final long layerAddress;
  private final long address;
  private final Exclusive use = new Exclusive();
  private final Struct error = Calls.newError();
  private final long errorAddress = error.address();
  private final RunOptions options;
  private final Slots slots;
  private Profile profile;

  State(Layer layer, StateOptions options) {
    this.layer = layer;
    constants = options.constants();
    batch = options.batch();
    input = options.inputOf(layer);
    Struct struct = options.write(input);
    handle =
        Handle.under(
            layer.handle(),
            this,
            (parent, out, error) -> Calls.ABI.stateAlloc(parent, struct.address(), out, error),
            Calls.ABI::stateFree,
            struct,
            options);
    address = handle.address();
    layerAddress = layer.handle().address();
    this.options = new RunOptions(constants, null);
    slots = new Slots(batch);
  }

  /**
   * The model.
   *
   * @return the layer that made this state
   */
  public Layer layer() {
    return layer;
  }

  /**
   * Runs the next block of the stream. Real-time safe: it allocates nothing and takes no lock,
   * unless it fails.
   *
   * @param x the block: the time is a multiple of the block size, at most the maximum of steps
   * @param y gets the output; {@link Layer#newOutput} makes one of its shape
   */
  public void step(Sequence x, Sequence y) {
    step(x, y, constants, null);
  }

  /**
   * Runs the next block of the stream, with constants and emits. Real-time safe, as {@link
   * #step(Sequence, Sequence)}.
   *
   * @param x the block
   * @param y gets the output
   * @param constants of the shapes that the state was made with; of a streamed one the part that
   *     goes with this block
   * @param emits gets what layers emit; null: not wanted
   */
  public void step(Sequence x, Sequence y, Constants constants, Emits emits) {
    use.enter();
    try {
      step(x.address(), y.address(), options.set(constants, emits));
    } finally {
      Reference.reachabilityFence(x);
      Reference.reachabilityFence(y);
      use.exit();
    }
  }

  /**
   * Runs the next block of some of the streams; all others stay as they are. Constants of the
   * state, if there are any, must have a batch of 1. Real-time safe, as {@link #step(Sequence,
   * Sequence)}.
   *
   * @param slots different items of the batch, in any order, which x and y have their items in
   * @param x the blocks
   * @param y gets the outputs, with the same bits as if each stream had a state of its own
   */
  public void stepSlots(long[] slots, Sequence x, Sequence y) {
    stepSlots(slots, x, y, constants, null);
  }

  /**
   * Runs the next block of some of the streams, with constants and emits.
   *
   * @param slots different items of the batch, in any order, which all else has its items in
   * @param x the blocks
   * @param y gets the outputs
   * @param constants of that batch, or of a batch of 1
   * @param emits gets what layers emit; null: not wanted
   */
  public void stepSlots(long[] slots, Sequence x, Sequence y, Constants constants, Emits emits) {
    use.enter();
    try {
      stepSlots(slots, x.address(), y.address(), options.set(constants, emits));
    } finally {
      Reference.reachabilityFence(x);
      Reference.reachabilityFence(y);
      use.exit();
    }
  }

  /**
   * Records the steps from now on.
   *
   * @param profile gets the costs; null: they are not recorded any more
   */
  public void record(Profile profile) {
    use.enter();
    this.profile = profile;
    use.exit();
  }

  /** The {@code sl_state}, for measurements. */
  long address() {
    return address;
  }

  /** A step of a {@link Stepper}, which keeps what the addresses point to. */
  void enterAndStep(long x, long y, RunOptions options) {
    use.enter();
    try {
      step(x, y, options);
    } finally {
      use.exit();
    }
  }

  /** A step of a {@link Stepper} over the first items of its buffers. */
  void enterAndStepSlots(long[] slots, FirstItems first) {
    use.enter();
    try {
      first.set(slots.length);
      stepSlots(slots, first.x(), first.y(), first.options());
    } finally {
      use.exit();
    }
  }

  private void step(long x, long y, RunOptions options) {
    long recorded = Profile.enter(profile);
    try {
      Calls.check(
          Calls.ABI.layerStep(layerAddress, address, x, y, options.address(recorded), errorAddress),
          error);
    } finally {
      Profile.exit(profile);
    }
  }

  private void stepSlots(long[] numbers, long x, long y, RunOptions options) {
    slots.set(numbers);
    long recorded = Profile.enter(profile);
    try {
      Calls.check(
          Calls.ABI.layerStepSlots(
              layerAddress,
              address,
              slots.address(),
              numbers.length,
              x,
              y,
              options.address(recorded),
              errorAddress),
          error);
    } finally {
      Profile.exit(profile);
    }
  }

  int batch() {
    return batch;
  }

  /**
   * Makes an object that runs blocks of one size: the fastest way to step.
   *
   * @param steps input steps of each block
   * @return a stepper with its own input and output, both without a mask
   */
  public Stepper stepper(long steps) {
    long[] dims = new long[2 + input.shape().size()];
    dims[0] = batch;
    dims[1] = steps;
    for (int i = 2; i < dims.length; ++i) {
      dims[i] = input.shape().get(i - 2);
    }
    Sequence x = Sequence.allocate(input.dtype(), dims);
    Sequence masked = layer.newOutput(Mode.STEP, x, constants);
    return stepper(x, masked.withoutMask(), constants, null);
  }

  /**
   * Makes an object that runs blocks of one size, from an input to an output that stay where they
   * are.
   *
   * @param x each block
   * @param y gets each output
   * @param constants null: none
   * @param emits null: not wanted
   * @return a stepper
   */
  public Stepper stepper(Sequence x, Sequence y, Constants constants, Emits emits) {
    return new Stepper(this, x, y, constants, emits);
  }

  /**
   * Allocates room for what layers emit in steps of this stream, which may have more keys to attend
   * to than {@link Layer#newEmits} knows of.
   *
   * @param x a block; its values are not read
   * @param wanted whether the emit of a path is wanted
   * @return room for each emit that is wanted
   */
  public Emits newEmits(Sequence x, Predicate<String> wanted) {
    use.enter();
    try {
      RunOptions run = new RunOptions(constants, null).state(address);
      return new Emits(layerAddress, Mode.STEP, x, constants, run, wanted);
    } finally {
      use.exit();
    }
  }

  /**
   * Continues the stream by a whole run, as a prompt: makes what steps over x would, in few large
   * blocks.
   *
   * @param x its time is a multiple of the block size
   * @param y gets the output, of the shape of a step
   * @param constants as in {@link #step(Sequence, Sequence, Constants, Emits)}
   * @param emits gets what layers emit; null: not wanted
   */
  public void apply(Sequence x, Sequence y, Constants constants, Emits emits) {
    RunOptions run = new RunOptions(constants, emits).state(address);
    call(
        error -> Calls.ABI.layerApply(layerAddress, x.address(), y.address(), run.address(), error),
        x,
        y,
        run);
  }

  /**
   * Computes what steps keep of the constants now, rather than in the first step; a later call
   * reads them anew.
   *
   * @param constants as in a step of one block
   */
  public void prepare(Constants constants) {
    call(
        error ->
            Calls.ABI.statePrepare(
                address, Constants.address(constants), Constants.count(constants), error),
        constants);
  }

  /** Sets the stream back to its start. Real-time safe. */
  public void reset() {
    use.enter();
    try {
      Calls.check(Calls.ABI.stateReset(address, errorAddress), error);
    } finally {
      use.exit();
    }
  }

  /**
   * Sets one item of the batch back to its start; the others continue. Real-time safe.
   *
   * @param item counted from 0
   */
  public void resetItem(long item) {
    use.enter();
    try {
      Calls.check(Calls.ABI.stateResetItem(address, item, errorAddress), error);
    } finally {
      use.exit();
    }
  }

  /**
   * Forks a stream: this one continues where the other stands. Real-time safe.
   *
   * @param source of the same layer and options, but for the maximum of steps and of length
   */
  public void copyFrom(State source) {
    use.enterWith(source.use);
    try {
      Calls.check(Calls.ABI.stateCopy(address, source.address, errorAddress), error);
    } finally {
      use.exitWith(source.use);
    }
  }

  /**
   * Makes an item continue where an item of another state stands; the other items continue as they
   * are. Real-time safe.
   *
   * @param item item of this state
   * @param source of the same layer and options, but for batch and maxima
   * @param sourceItem item of the source
   */
  public void copyItemFrom(long item, State source, long sourceItem) {
    use.enterWith(source.use);
    try {
      Calls.check(
          Calls.ABI.stateCopyItem(address, item, source.address, sourceItem, errorAddress), error);
    } finally {
      use.exitWith(source.use);
    }
  }

  /**
   * Size of a saved state.
   *
   * @return bytes
   */
  public int saveSize() {
    use.enter();
    try {
      return Math.toIntExact(Calls.ABI.stateSaveSize(address));
    } finally {
      use.exit();
    }
  }

  /**
   * Saves the stream: versioned bytes, with a fingerprint of model and options, and a checksum.
   *
   * @return the bytes, for a state of the same model and options to {@link #load(byte[])}
   */
  public byte[] save() {
    ByteBuffer buffer = ByteBuffer.allocateDirect(saveSize());
    save(buffer);
    byte[] saved = new byte[buffer.flip().remaining()];
    buffer.get(saved);
    return saved;
  }

  /**
   * Saves the stream to a buffer from its position on, which moves behind the saved bytes.
   *
   * @param buffer a direct buffer with room for {@link #saveSize} bytes
   */
  public void save(ByteBuffer buffer) {
    long start = position(buffer);
    int size = saveSize();
    call(error -> Calls.ABI.stateSave(address, start, buffer.remaining(), error), buffer);
    buffer.position(buffer.position() + size);
  }

  /**
   * Continues where the saved stream stood.
   *
   * @param saved bytes of {@link #save()}
   * @throws SequenceLayersException {@link Status#STATE}: they are of another model, other options
   *     or another version, or damaged. The stream is as it was.
   */
  public void load(byte[] saved) {
    load(ByteBuffer.allocateDirect(saved.length).put(saved).flip());
  }

  /**
   * Continues where the saved stream stood.
   *
   * @param saved a direct buffer whose remaining bytes are those of a saved state
   * @throws SequenceLayersException as {@link #load(byte[])}
   */
  public void load(ByteBuffer saved) {
    long start = position(saved);
    call(error -> Calls.ABI.stateLoad(address, start, saved.remaining(), error), saved);
  }

  /**
   * Size of a saved item.
   *
   * @return bytes
   */
  public int saveItemSize() {
    use.enter();
    try {
      return Math.toIntExact(Calls.ABI.stateSaveItemSize(address));
    } finally {
      use.exit();
    }
  }

  /**
   * Saves one item of the batch.
   *
   * @param item counted from 0
   * @return the bytes, which a state of batch 1 saves and loads too
   */
  public byte[] saveItem(long item) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(saveItemSize());
    saveItem(item, buffer);
    byte[] saved = new byte[buffer.flip().remaining()];
    buffer.get(saved);
    return saved;
  }

  /**
   * Saves one item to a buffer from its position on, which moves behind the saved bytes.
   *
   * @param item counted from 0
   * @param buffer a direct buffer with room for {@link #saveItemSize} bytes
   */
  public void saveItem(long item, ByteBuffer buffer) {
    long start = position(buffer);
    int size = saveItemSize();
    call(error -> Calls.ABI.stateSaveItem(address, item, start, buffer.remaining(), error), buffer);
    buffer.position(buffer.position() + size);
  }

  /**
   * Makes one item continue where the saved one stood; the other items continue as they are.
   *
   * @param item counted from 0
   * @param saved bytes of {@link #saveItem(long)}
   * @throws SequenceLayersException as {@link #load(byte[])}
   */
  public void loadItem(long item, byte[] saved) {
    loadItem(item, ByteBuffer.allocateDirect(saved.length).put(saved).flip());
  }

  /**
   * Makes one item continue where the saved one stood.
   *
   * @param item counted from 0
   * @param saved a direct buffer whose remaining bytes are those of a saved item
   * @throws SequenceLayersException as {@link #load(byte[])}
   */
  public void loadItem(long item, ByteBuffer saved) {
    long start = position(saved);
    call(error -> Calls.ABI.stateLoadItem(address, item, start, saved.remaining(), error), saved);
  }

  /**
   * The named tensors that make up the state, to print and check it.
   *
   * @return copies, as arrays, by name
   */
  public Map<String, Sequence> tensors() {
    Map<String, Sequence> found = new LinkedHashMap<>();
    eachTensor((name, view) -> found.put(name, Sequence.copy(view)));
    return found;
  }

  /**
   * Sets a tensor of the state, such as a carry.
   *
   * @param name as in {@link #tensors}
   * @param value of the same dtype and shape; integers are indices, not to be changed
   */
  public void setTensor(String name, Sequence value) {
    boolean[] found = new boolean[1];
    eachTensor(
        (candidate, view) -> {
          if (candidate.equals(name)) {
            value.copyTo(view);
            found[0] = true;
          }
        });
    if (!found[0]) {
      throw new IllegalArgumentException("the state has no tensor " + name);
    }
  }

  private void eachTensor(BiConsumer<String, Struct> consumer) {
    use.enter();
    try {
      Struct name = new Struct(Long.BYTES);
      Struct view = Sequence.newStruct();
      long count = Calls.ABI.stateTensorCount(address);
      for (long i = 0; i < count; ++i) {
        Calls.check(
            Calls.ABI.stateTensor(address, i, name.address(), view.address(), errorAddress), error);
        consumer.accept(name.getString(0), view);
      }
    } finally {
      use.exit();
    }
  }

  /** Frees the stream. Does nothing the second time. */
  @Override
  public void close() {
    if (use.close()) {
      handle.close();
    }
  }

  private void call(LongToIntFunction call, Object... kept) {
    use.call(error, call, kept);
  }

  /** Address of the next byte of a direct buffer. */
  static long position(ByteBuffer buffer) {
    if (!Objects.requireNonNull(buffer).isDirect()) {
      throw new IllegalArgumentException("the buffer is not direct");
    }
    return Platform.CURRENT.address(buffer) + buffer.position();
  }
}
