package org.sequencelayers;

import java.lang.ref.Reference;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.LongUnaryOperator;
import java.util.function.Predicate;

/**
 * A model: {@code sl_layer}. It never changes, and any number of threads may use it at once. It
 * runs layer-wise, on a whole sequence ({@link #apply(Sequence)}), or step-wise, on one block after
 * another of a stream ({@link #newState()}), with the same result.
 *
 * <p>A layer that is closed before its states and decoders lives on in them.
 */
public final class Layer implements AutoCloseable {
  private final Handle handle;

  private Layer(long address) {
    handle = new Handle(this, address, Calls.ABI::layerFree, null);
  }

  /**
   * Makes the model of a directory that holds {@code config.json} and, if it has weights, {@code
   * model.safetensors}.
   *
   * @param directory the model
   * @return the layer
   * @throws SequenceLayersException the config or the weights are wrong, or cannot be read
   */
  public static Layer open(Path directory) {
    return open(directory, new LayerOptions());
  }

  /**
   * Makes the model of a directory.
   *
   * @param directory the model
   * @param options threads, limits and custom layers
   * @return the layer
   * @throws SequenceLayersException the config or the weights are wrong, or cannot be read
   */
  public static Layer open(Path directory, LayerOptions options) {
    Struct path = Struct.string(directory.toString());
    return make(
        options,
        (struct, out, error) -> Calls.ABI.layerOpen(path.address(), struct, out, error),
        path);
  }

  /**
   * Makes the model of a config and its weights.
   *
   * @param config one JSON object
   * @param weights null: it needs none
   * @param options threads, limits and custom layers
   * @return the layer
   * @throws SequenceLayersException the config or the weights are wrong
   */
  public static Layer create(String config, Weights weights, LayerOptions options) {
    Struct text = Struct.string(config);
    long address = weights == null ? 0 : weights.handle().acquire();
    try {
      return make(
          options,
          (struct, out, error) ->
              Calls.ABI.layerCreate(text.address(), text.size() - 1, address, struct, out, error),
          text);
    } finally {
      if (weights != null) {
        weights.handle().release();
      }
    }
  }

  private static Layer make(LayerOptions options, LayerMaker maker, Object kept) {
    Registry registry = options.registry();
    long address = registry == null ? 0 : registry.handle().acquire();
    try {
      Struct struct = options.write(address);
      return new Layer(
          Calls.make((out, error) -> maker.make(struct.address(), out, error), struct, kept));
    } finally {
      if (registry != null) {
        registry.handle().release();
      }
    }
  }

  private interface LayerMaker {
    int make(long options, long out, long error);
  }

  /**
   * Input steps of which the time of a step is a multiple.
   *
   * @return the block size
   */
  public long blockSize() {
    return number(Calls.ABI::layerBlockSize);
  }

  /**
   * Output steps for each input step.
   *
   * @return the ratio
   */
  public Ratio outputRatio() {
    Struct out = new Struct(2 * Long.BYTES);
    call(
        (layer, error) ->
            Calls.ABI.layerOutputRatio(layer, out.address(), out.address() + Long.BYTES, error),
        out);
    return new Ratio(out.getLong(0), out.getLong(Long.BYTES));
  }

  /**
   * Invalid steps to append to the input of a stream, so that all of its output comes.
   *
   * @return input steps
   */
  public long inputLatency() {
    return number(Calls.ABI::layerInputLatency);
  }

  /**
   * Steps to drop from the start of the output of a stream.
   *
   * @return output steps
   */
  public long outputLatency() {
    return number(Calls.ABI::layerOutputLatency);
  }

  /**
   * Whether the model steps in a stream without a maximum length.
   *
   * @return true if so; if not, the exception of {@link #newState()} says why
   */
  public boolean supportsStep() {
    return number(Calls.ABI::layerSupportsStep) != 0;
  }

  /**
   * Writes a weights file whose matrices are packed, as this layer holds them.
   *
   * @param path the file, which is replaced if it exists
   * @throws SequenceLayersException it cannot be written, or the layer has no weights
   */
  public void saveWeights(Path path) {
    Struct text = Struct.string(path.toString());
    call((layer, error) -> Calls.ABI.layerSaveWeights(layer, text.address(), error), text);
  }

  /**
   * The input steps that can affect an output step.
   *
   * @return empty if none can
   */
  public Optional<ReceptiveField> receptiveField() {
    Struct out = new Struct(3 * Long.BYTES);
    call(
        (layer, error) ->
            Calls.ABI.layerReceptiveField(
                layer,
                out.address(),
                out.address() + Long.BYTES,
                out.address() + 2 * Long.BYTES,
                error),
        out);
    return out.getInt(0) == 0
        ? Optional.empty()
        : Optional.of(new ReceptiveField(out.getLong(Long.BYTES), out.getLong(2 * Long.BYTES)));
  }

  /**
   * The input that is recorded with the model, or else the one that its first layers imply.
   *
   * @return content of a step of the input
   * @throws SequenceLayersException {@link Status#UNSUPPORTED} if neither tells
   */
  public ChannelSpec inputSpec() {
    Struct out = Struct.sized(ChannelSpec.SIZE);
    call((layer, error) -> Calls.ABI.layerInputSpec(layer, out.address(), error), out);
    return ChannelSpec.read(out);
  }

  /**
   * Output spec for an input spec.
   *
   * @param input content of a step of the input
   * @param constants null where the model needs none
   * @return content of a step of the output
   */
  public ChannelSpec outputSpec(ChannelSpec input, Constants constants) {
    Struct in = input.write();
    Struct out = Struct.sized(ChannelSpec.SIZE);
    call(
        (layer, error) ->
            Calls.ABI.layerOutputSpec(
                layer,
                in.address(),
                Constants.address(constants),
                Constants.count(constants),
                out.address(),
                error),
        in,
        out,
        constants);
    return ChannelSpec.read(out);
  }

  /**
   * Number of scalars in the weights.
   *
   * @return the number
   */
  public long parameterCount() {
    return count(Calls.ABI::layerParameterCount);
  }

  /**
   * An entry of the metadata of the model's weights.
   *
   * @param key such as {@code sample_rate}, the input steps a second
   * @return empty if there is none of that key
   */
  public Optional<String> metadata(String key) {
    Struct text = Struct.string(key);
    long layer = handle.acquire();
    try {
      long found = Calls.ABI.layerMetadata(layer, text.address());
      return Optional.ofNullable(Platform.CURRENT.string(found));
    } finally {
      handle.release();
      Reference.reachabilityFence(text);
    }
  }

  /**
   * Describes the model layer by layer, for the input that it says of itself.
   *
   * @return JSON: specs, parameters, state, latency, children
   */
  public String describe() {
    return describe(inputSpec(), null);
  }

  /**
   * Describes the model layer by layer.
   *
   * @param input content of a step of the input
   * @param constants null where the model needs none
   * @return JSON: specs, parameters, state, latency, children
   */
  public String describe(ChannelSpec input, Constants constants) {
    Struct in = input.write();
    Struct text = new Struct(0);
    Struct needed = new Struct(Long.BYTES);
    do {
      Struct room = new Struct(Math.toIntExact(needed.getLong(0)));
      text = room;
      call(
          (layer, error) ->
              Calls.ABI.layerDescribe(
                  layer,
                  in.address(),
                  Constants.address(constants),
                  Constants.count(constants),
                  room.address(),
                  room.size(),
                  needed.address(),
                  error),
          in,
          room,
          needed,
          constants);
    } while (needed.getLong(0) > text.size());
    return text.text(0);
  }

  /**
   * The constants that the model reads.
   *
   * @return what it says of each
   */
  public List<ConstantInfo> constants() {
    List<ConstantInfo> found = new ArrayList<>();
    long count = count(Calls.ABI::layerConstantCount);
    for (long i = 0; i < count; ++i) {
      found.add(constant(i));
    }
    return found;
  }

  private ConstantInfo constant(long index) {
    Struct info = Struct.sized(104);
    long layer = handle.acquire();
    try {
      Calls.check(error -> Calls.ABI.layerConstant(layer, index, info.address(), error), info);
      int rank = info.getInt(36);
      List<Long> shape = new ArrayList<>();
      for (int i = 0; i < rank; ++i) {
        shape.add(info.getLong(40 + Long.BYTES * i));
      }
      return new ConstantInfo(
          info.getString(8),
          ConstantInfo.Kind.values()[info.getInt(4)],
          info.getString(16),
          info.getInt(24) != 0,
          info.getInt(28) != 0,
          info.getInt(32) < 0 ? Optional.empty() : Optional.of(DType.of(info.getInt(32))),
          rank < 0 ? Optional.empty() : Optional.of(List.copyOf(shape)));
    } finally {
      handle.release();
    }
  }

  /**
   * The layers for which steps give other values than whole runs. Most models have none.
   *
   * @return what is known of each
   */
  public List<StepDifference> stepDifferences() {
    List<StepDifference> found = new ArrayList<>();
    long count = count(Calls.ABI::layerStepDifferenceCount);
    for (long i = 0; i < count; ++i) {
      found.add(stepDifference(i));
    }
    return found;
  }

  private StepDifference stepDifference(long index) {
    Struct struct = Struct.sized(40);
    long layer = handle.acquire();
    try {
      Calls.check(
          error -> Calls.ABI.layerStepDifference(layer, index, struct.address(), error), struct);
      return new StepDifference(
          StepDifference.Condition.values()[struct.getInt(4)],
          struct.getString(8),
          struct.getString(16),
          struct.getString(24),
          struct.getString(32));
    } finally {
      handle.release();
    }
  }

  /**
   * Allocates the output that a run makes of an input of this shape, with a mask.
   *
   * @param mode how the model is to run
   * @param x its values are not read
   * @param constants null where the model needs none
   * @return the output, with any values
   */
  public Sequence newOutput(Mode mode, Sequence x, Constants constants) {
    Struct shape = Sequence.newStruct();
    RunOptions options = new RunOptions(constants, null);
    call(
        (layer, error) ->
            Calls.ABI.layerOutputShape(
                layer, mode.ordinal(), x.address(), options.address(), shape.address(), error),
        x,
        options,
        shape);
    return Sequence.allocate(shape);
  }

  /**
   * Allocates room for what layers emit in a run of this model.
   *
   * @param mode how the model is to run
   * @param x its values are not read
   * @param constants null where the model needs none
   * @param wanted whether the emit of a path is wanted
   * @return room for each emit that is wanted
   */
  public Emits newEmits(Mode mode, Sequence x, Constants constants, Predicate<String> wanted) {
    long layer = handle.acquire();
    try {
      return new Emits(layer, mode, x, constants, new RunOptions(constants, null), wanted);
    } finally {
      handle.release();
    }
  }

  /**
   * Runs a whole sequence through a model without constants.
   *
   * @param x the input
   * @return a new output, with a mask
   */
  public Sequence apply(Sequence x) {
    Sequence y = newOutput(Mode.LAYER, x, null);
    apply(x, y, null, null);
    return y;
  }

  /**
   * Runs a whole sequence.
   *
   * @param x the input
   * @param y gets the output; {@link #newOutput} makes one of its shape
   * @param constants null where the model needs none
   * @param emits gets what layers emit; null: not wanted
   */
  public void apply(Sequence x, Sequence y, Constants constants, Emits emits) {
    apply(x, y, constants, emits, null);
  }

  /**
   * Runs a whole sequence, and records what that costs.
   *
   * @param x the input
   * @param y gets the output
   * @param constants null where the model needs none
   * @param emits gets what layers emit; null: not wanted
   * @param profile gets the costs; null: not recorded
   */
  public void apply(Sequence x, Sequence y, Constants constants, Emits emits, Profile profile) {
    RunOptions options = new RunOptions(constants, emits);
    long recorded = Profile.enter(profile);
    try {
      call(
          (layer, error) ->
              Calls.ABI.layerApply(
                  layer, x.address(), y.address(), options.address(recorded), error),
          x,
          y,
          options);
    } finally {
      Profile.exit(profile);
    }
  }

  /**
   * Makes a stream with the default options.
   *
   * @return a stream at its start
   */
  public State newState() {
    return newState(new StateOptions());
  }

  /**
   * Makes a stream. It allocates and rehearses, so that the first step costs what the thousandth
   * does.
   *
   * @param options sizes and inputs
   * @return a stream at its start
   * @throws SequenceLayersException the model cannot step, or not with this input
   */
  public State newState(StateOptions options) {
    return new State(this, options);
  }

  /**
   * Makes a decoder: streams of tokens, in which the choices of the model are its next inputs.
   *
   * @param options how it chooses
   * @return a decoder at the start of its streams
   * @throws SequenceLayersException the model does not make logits of tokens, or cannot step
   */
  public Decoder newDecoder(DecoderOptions options) {
    return new Decoder(this, options);
  }

  /**
   * Makes a pipe: a front for audio, with any number of frames a call.
   *
   * @param options rates, channels and sizes
   * @return a pipe at the start of its stream
   * @throws SequenceLayersException the model does not make audio of audio, or the options do not
   *     fit it
   */
  public Pipe newPipe(PipeOptions options) {
    return new Pipe(this, options);
  }

  /** Frees the model, or lets the last of its states do so. Does nothing the second time. */
  @Override
  public void close() {
    handle.close();
  }

  Handle handle() {
    return handle;
  }

  private interface LayerCall {
    int call(long layer, long error);
  }

  private void call(LayerCall call, Object... kept) {
    long layer = handle.acquire();
    try {
      Calls.check(error -> call.call(layer, error), kept);
    } finally {
      handle.release();
    }
  }

  private interface NumberCall {
    int call(long layer, long out, long error);
  }

  private long number(NumberCall call) {
    Struct out = new Struct(Long.BYTES);
    call((layer, error) -> call.call(layer, out.address(), error), out);
    return out.getLong(0);
  }

  private long count(LongUnaryOperator call) {
    long layer = handle.acquire();
    try {
      return call.applyAsLong(layer);
    } finally {
      handle.release();
    }
  }
}
